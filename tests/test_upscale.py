"""Where chroma goes, what the planes of an upscaled frame look like, and what an exact size costs."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from conftest import Nearest

from vsr.engines import open_engine
from vsr.engines.bicubic import Bicubic
from vsr.engines.resample import Grid, Resampler
from vsr.frame import Color, Frame
from vsr.quality.metrics import psnr
from vsr.quality.protocol import load_luma
from vsr.upscale import Upscaler, chroma_grid

LOCATIONS = [(1, (0, 0.5)), (2, (0.5, 0.5)), (3, (0, 0)), (5, (0, 1)), (0, (0.5, 0.5))]


def planes_of(width: int, height: int, chroma: tuple[int, int] | None, bits: int, values: tuple[int, ...]
              ) -> tuple[np.ndarray, ...]:
    dtype = np.uint8 if bits == 8 else np.uint16
    sizes = [(height, width)] + [(-(-height >> chroma[1]), -(-width >> chroma[0]))] * 2 if chroma else [(height, width)]
    return tuple(np.full(size, value, dtype) for size, value in zip(sizes, values, strict=False))


@pytest.mark.parametrize("target", [200, 300, 400, 150, 233, 100, 64])
def test_centred_chroma_moves_as_luma_does(target: int) -> None:
    for factor in (1, 2, 4):
        assert chroma_grid(100, target, factor, 0.5) == pytest.approx(Grid.centred(100, target))


@pytest.mark.parametrize("scale", [2, 3, 4, 1.5])
def test_left_sited_420_moves_half_as_far(scale: float) -> None:
    assert chroma_grid(100, int(100 * scale), 2, 0).start == pytest.approx((1 - scale) / (4 * scale))


@pytest.mark.parametrize("target", [200, 300, 400, 150, 233, 64])
@pytest.mark.parametrize("factor", [1, 2, 4])
@pytest.mark.parametrize("place", [0, 0.5, 1])
def test_the_grid_follows_from_the_sample_positions(target: int, factor: int, place: float) -> None:
    """Both grids drawn on one ruler, in luma pixels, whose edges coincide."""
    site = Fraction(place * (factor - 1) + 0.5)  # centre of the first chroma sample, from the picture's edge
    grid = chroma_grid(100, target, factor, place)
    for j in range(3):
        from_the_edge = (site + j * factor) * Fraction(100, target)
        assert grid.start + j * grid.step == pytest.approx(float((from_the_edge - site) / factor))


@pytest.mark.parametrize("chroma", [None, (0, 0), (1, 0), (1, 1), (2, 0), (2, 2)])
@pytest.mark.parametrize("size", [(12, 8), (13, 9), (1, 1), (2, 3)])
@pytest.mark.parametrize("bits", [8, 10])
def test_planes_have_the_sizes_that_the_subsampling_asks_for(
    chroma: tuple[int, int] | None, size: tuple[int, int], bits: int
) -> None:
    values = 60, 90, 200
    planes = planes_of(*size, chroma, bits, values)
    frame = Frame(planes, bits, 7, Fraction(1, 25), color=Color(chroma_location=1), alpha=planes[0])
    width, height = size
    twice, thrice, odd = (2 * width, 2 * height), (3 * width, 3 * height), (3 * width // 2, height + 5)
    for scale, big_size in ((2, twice), (3, thrice), (2, odd), (2, (17, 31))):
        big = Upscaler(Nearest("m", scale, bits), chroma, 1, *big_size)(frame)
        wanted = planes_of(*big_size, chroma, bits, values)
        assert len(big.planes) == len(wanted)
        for plane, same in zip((*big.planes, big.alpha), (*wanted, wanted[0]), strict=True):
            assert plane is not None and plane.dtype == same.dtype and np.array_equal(plane, same)
        assert (big.pts, big.time_base, big.color) == (7, Fraction(1, 25), frame.color)


@pytest.mark.parametrize(("location", "place"), LOCATIONS)
@pytest.mark.parametrize("ratio", [Fraction(2), Fraction(4), Fraction(3, 2), Fraction(5, 4), Fraction(13, 4)], ids=str)
def test_a_coloured_ramp_stays_where_it_was(ratio: Fraction, location: int, place: tuple[float, float]) -> None:
    """Chroma that grows linearly with the position in the picture does so after upscaling, at every siting."""

    def ramp(width: int, height: int, slope: float) -> np.ndarray:
        x = 2 * np.arange(width // 2) + place[0] + 0.5  # from the left edge, in luma pixels
        y = 2 * np.arange(height // 2) + place[1] + 0.5
        return 1000 + slope * (3 * x[None, :] + 5 * y[:, None])

    width, height = 32, 24
    planes = [ramp(width, height, 16).round().astype(np.uint16)] * 2
    luma = np.zeros((height, width), np.uint16)
    size = int(width * ratio), int(height * ratio)
    big = Upscaler(Nearest("m", 4, 16), (1, 1), location, *size)(Frame((luma, *planes), 16, 0, Fraction(1, 25)))
    expected = ramp(*size, 16 / ratio)
    inside = slice(int(3 * ratio), -int(3 * ratio))
    assert np.abs(big.planes[1].astype(float) - expected)[inside, inside].max() <= 1


def crossing(samples: np.ndarray) -> float:
    """Where a rising edge passes the middle between its sides, in samples."""
    values = samples.astype(float) - (float(samples[0]) + float(samples[-1])) / 2
    after = int(np.argmax(values > 0))
    return after - values[after] / (values[after] - values[after - 1])


@pytest.mark.parametrize(("location", "place"), [(1, (0, 0.5)), (2, (0.5, 0.5)), (3, (0, 0))])
@pytest.mark.parametrize("ratio", [Fraction(3, 2), Fraction(4, 3), Fraction(9, 4), Fraction(2)], ids=str)
def test_a_coloured_edge_stays_with_its_luma(ratio: Fraction, location: int, place: tuple[float, float]) -> None:
    """In 4:2:0, along both axes; resizing the chroma plane by itself moves what is not centred."""
    side = 48

    def edge(position: np.ndarray) -> np.ndarray:
        return (12000 + 9000 * np.tanh((position - 23.3) / 4)).round().astype(np.uint16)

    size = int(side * ratio)
    for axis in (0, 1):
        luma, chroma = (np.tile(edge(position), (len(position), 1))
                        for position in (np.arange(side), 2 * np.arange(side // 2) + place[axis]))
        frame = Frame(tuple(p if axis == 0 else p.T.copy() for p in (luma, chroma, chroma)), 16, 0, Fraction(1, 25))
        big = Upscaler(Bicubic(3, 16), (1, 1), location, size, size)(frame)
        in_luma, in_chroma = (crossing(p[10] if axis == 0 else p[:, 10]) for p in big.planes[:2])
        assert abs(in_luma - (23.8 * ratio - 0.5)) < 0.05
        assert abs(2 * in_chroma + place[axis] - in_luma) < 0.05
        naive = Resampler((side // 2, side // 2), (size // 2, size // 2), 16)(chroma)
        moved = 2 * crossing(naive[10]) + place[axis] - in_luma
        assert abs(moved) > 0.12 if place[axis] == 0 else abs(moved) < 0.05


def test_opacity_is_resized_as_a_centred_plane() -> None:
    alpha = np.random.default_rng(0).integers(0, 256, (10, 14), dtype=np.uint8)
    planes = planes_of(14, 10, (1, 1), 8, (60, 90, 200))
    frame = Frame(planes, 8, 0, Fraction(1, 25), alpha=alpha)
    whole = Upscaler(Nearest("m", 2), (1, 1), 1, 28, 20)(frame)
    assert whole.alpha is not None and np.array_equal(whole.alpha, Bicubic(2).upscale(alpha))
    other = Upscaler(Nearest("m", 2), (1, 1), 1, 23, 19)(frame)
    assert other.alpha is not None and np.array_equal(other.alpha, Resampler((10, 14), (19, 23))(alpha))
    opaque = Frame(planes, 8, 0, Fraction(1, 25), alpha=np.full((10, 14), 255, np.uint8))
    assert (Upscaler(Nearest("m", 2), (1, 1), 1, 23, 19)(opaque).alpha == 255).all()


def test_frames_that_change_their_size_come_out_at_one() -> None:
    random = np.random.default_rng(0)
    upscaler = Upscaler(Nearest("m", 2), (1, 1), 1, 64, 48)
    for width, height in ((32, 24), (40, 30), (64, 48), (7, 5), (100, 24), (32, 24)):
        planes = [random.integers(0, 256, plane.shape, dtype=np.uint8)
                  for plane in planes_of(width, height, (1, 1), 8, (0, 0, 0))]
        frame = Frame(tuple(planes), 8, 0, Fraction(1, 25))
        big = upscaler(frame)
        assert [plane.shape for plane in big.planes] == [(48, 64), (24, 32), (24, 32)]
        double = np.repeat(np.repeat(planes[0], 2, 0), 2, 1)
        if double.shape != (48, 64):
            double = Resampler(double.shape, (48, 64))(double)
        assert np.array_equal(big.luma, double)
        x, y = chroma_grid(width, 64, 2, 0), chroma_grid(height, 48, 2, 0.5)
        wanted = Resampler(planes[2].shape, (24, 32), 8, x, y)(planes[2])
        assert np.abs(big.planes[2].astype(int) - wanted).max() <= 1


def test_the_network_pays_at_sizes_between_its_scales(data: Path) -> None:
    """x1.5 of what was shrunk to 2/3: enlarged twice and shrunk, it is nearer to the truth than by bicubic alone."""
    gains = []
    with open_engine("fsrcnn-s", 2) as engine:
        for path in sorted((data / "test" / "Set5").iterdir()):
            truth = load_luma(path)
            truth = truth[: truth.shape[0] // 3 * 3, : truth.shape[1] // 3 * 3]
            size = truth.shape[::-1]
            low = Resampler(truth.shape, (2 * truth.shape[0] // 3, 2 * truth.shape[1] // 3))(truth)
            ours = Upscaler(engine, None, 0, *size)(Frame((low,), 8, 0, Fraction(1, 25))).luma
            bicubic = Resampler(low.shape, truth.shape)(low)
            inner = np.s_[4:-4, 4:-4]
            gains.append(psnr(ours[inner], truth[inner]) - psnr(bicubic[inner], truth[inner]))
    assert min(gains) > 0.5 and np.mean(gains) > 2
