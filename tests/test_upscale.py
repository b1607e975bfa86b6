"""Where chroma goes, and what the planes of an upscaled frame look like."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from conftest import Nearest

from vsr.frame import Color, Frame
from vsr.upscale import Upscaler, chroma_shift


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_centred_chroma_moves_as_luma_does(scale: int) -> None:
    for factor in (1, 2, 4):
        assert chroma_shift(scale, factor, 0.5) == pytest.approx((scale - 1) / (2 * scale))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_left_sited_420_moves_half_as_far(scale: int) -> None:
    assert chroma_shift(scale, 2, 0) == pytest.approx((scale - 1) / (4 * scale))


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("factor", [1, 2, 4])
@pytest.mark.parametrize("place", [0, 0.5, 1])
def test_shift_follows_from_the_sample_positions(scale: int, factor: int, place: float) -> None:
    """Both grids drawn on one ruler, in input luma pixels, whose edges coincide."""
    site = place * (factor - 1) + 0.5  # centre of the first chroma sample, from the picture's edge, in luma pixels
    for j in range(3):
        output = Fraction(j * factor) + Fraction(site)  # in output luma pixels from the same edge
        in_input_chroma = (output / scale - Fraction(site)) / factor
        assert float(in_input_chroma) == pytest.approx(j / scale - chroma_shift(scale, factor, place))


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("chroma", [None, (0, 0), (1, 0), (1, 1), (2, 0), (2, 2)])
@pytest.mark.parametrize("size", [(12, 8), (13, 9), (1, 1), (2, 3)])
@pytest.mark.parametrize("bits", [8, 10])
def test_planes_have_the_sizes_that_the_subsampling_asks_for(
    scale: int, chroma: tuple[int, int] | None, size: tuple[int, int], bits: int
) -> None:
    width, height = size
    dtype = np.uint8 if bits == 8 else np.uint16
    planes = [np.full((height, width), 60, dtype)]
    for value in (90, 200) if chroma else ():
        planes.append(np.full((-(-height >> chroma[1]), -(-width >> chroma[0])), value, dtype))
    frame = Frame(tuple(planes), bits, 7, Fraction(1, 25), color=Color(chroma_location=1))
    big = Upscaler(Nearest("m", scale, bits), chroma, 1)(frame)
    width, height = width * scale, height * scale
    assert big.luma.shape == (height, width)
    for plane, value in zip(big.planes[1:], (90, 200), strict=bool(chroma)):
        assert plane.shape == (-(-height >> chroma[1]), -(-width >> chroma[0]))
        assert (plane == value).all()
    assert (big.pts, big.time_base, big.color) == (7, Fraction(1, 25), frame.color)
    assert all(plane.dtype == dtype for plane in big.planes)


@pytest.mark.parametrize(
    ("location", "place"), [(1, (0, 0.5)), (2, (0.5, 0.5)), (3, (0, 0)), (5, (0, 1)), (0, (0.5, 0.5))]
)
@pytest.mark.parametrize("scale", [2, 4])
def test_a_coloured_ramp_stays_where_it_was(scale: int, location: int, place: tuple[float, float]) -> None:
    """Chroma that grows linearly with the position in the picture does so after upscaling, at every siting."""

    def ramp(width: int, height: int, slope: float) -> np.ndarray:
        x = 2 * np.arange(width // 2) + place[0] + 0.5  # from the left edge, in luma pixels
        y = 2 * np.arange(height // 2) + place[1] + 0.5
        return 1000 + slope * (3 * x[None, :] + 5 * y[:, None])

    width, height = 32, 24
    planes = [ramp(width, height, 16).round().astype(np.uint16)] * 2
    luma = np.zeros((height, width), np.uint16)
    upscaler = Upscaler(Nearest("m", scale, 16), (1, 1), location)
    big = upscaler(Frame((luma, *planes), 16, 0, Fraction(1, 25)))
    expected = ramp(width * scale, height * scale, 16 / scale)
    inside = slice(3 * scale, -3 * scale)
    assert np.abs(big.planes[1].astype(float) - expected)[inside, inside].max() <= 1
