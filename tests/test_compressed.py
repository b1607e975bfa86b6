"""Pairs that went through real codecs: in step with their targets, told apart by how coarse they are, made alike."""

from __future__ import annotations

import itertools
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from vsr.media.quantizer import as_h264, qp_of_index, told
from vsr.quality.metrics import psnr, to_bytes
from vsr.quality.protocol import imresize
from vsr.training import compressed
from vsr.training.compressed import CODECS, FRAMES, compressed_twins, through
from vsr.training.data import Patches
from vsr.training.recipes import RECIPES

EVERYTHING = (-99, 99)


def picture(seed: int, size: tuple[int, int]) -> np.ndarray:
    """Luma with edges and some grain."""
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.uniform(0, 1, size), (0, 0), 5)
    edges = cv2.GaussianBlur(60 + 120.0 * (noise > noise.mean()), (0, 0), 0.8)
    return np.clip(edges + rng.normal(0, 4, size), 16, 235).astype(np.uint8)


@pytest.fixture
def sources(tmp_path: Path) -> tuple[list[Path], list[Path]]:
    """Three photographs and a clip."""
    photographs = [tmp_path / f"{i}.png" for i in range(3)]
    for i, path in enumerate(photographs):
        cv2.imwrite(str(path), picture(i, (210, 240)))
    clip = tmp_path / "clip.mkv"
    with av.open(str(clip), "w") as container:
        video = container.add_stream("ffv1", 25, width=300, height=280, pix_fmt="gray")
        ground = picture(9, (320, 320))
        for i in range(FRAMES + 3):
            frame = np.ascontiguousarray(ground[i:i + 280, 2 * i:2 * i + 300])
            container.mux(video.encode(av.VideoFrame.from_ndarray(frame, "gray")))
        container.mux(video.encode(None))
    return photographs, [clip]


def test_pairs_are_in_step_and_told_apart_by_their_quantizers(sources: tuple[list[Path], list[Path]], tmp_path: Path,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressed, "ROUNDS", 4)
    everything = compressed_twins(*sources, 2, EVERYTHING, tmp_path / "cache")
    index = np.load(next((tmp_path / "cache").glob("*.npy")))
    assert len(everything) == len(index) == 4 * 4 * 2 and len(set(index["codec"])) > 1
    quality = []
    for (low, high), entry in zip(everything, index, strict=True):
        assert low.dtype == high.dtype == np.uint8 and high.shape == (2 * low.shape[0], 2 * low.shape[1])
        wanted = to_bytes(imresize(high, 0.5))
        quality.append(psnr(low, wanted))
        for apart in ((0, 2), (2, 0)):  # one low-resolution pixel out of step is worse
            moved = np.roll(wanted, apart, (0, 1))
            assert psnr(low, moved) < quality[-1], entry
    coarse = index["coarseness"] > np.median(index["coarseness"])
    assert np.mean(np.array(quality)[coarse]) < np.mean(np.array(quality)[~coarse]) - 2
    assert min(quality) > 20

    fine = compressed_twins(*sources, 2, (-99, float(np.median(index["coarseness"]))), tmp_path / "cache")
    assert 0 < len(fine) == (~coarse).sum()
    again = compressed_twins(*sources, 2, EVERYTHING, tmp_path / "elsewhere")
    assert all(np.array_equal(a, b) for one, two in zip(everything, again, strict=True)
               for a, b in zip(one, two, strict=True))
    low, high = Patches(everything, 2, 16, 5).draw(8, np.random.default_rng(0), 2)
    assert low.dtype == high.dtype == np.float32 and high.max() < 1.05


def test_drawn_pages_go_through_codecs_too(tmp_path: Path) -> None:
    pages = compressed_twins((), (), 2, EVERYTHING, tmp_path, pages=2)
    assert len(pages) == 2 * compressed.ROUNDS * compressed.KEPT
    assert all(np.abs(np.diff(high.astype(int))).max() > 60 for _, high in pages)  # as hard as no photograph's edges
    assert len({high.tobytes() for _, high in pages}) > 2 * compressed.ROUNDS  # some stand still
    assert len(compressed_twins((), (), 2, EVERYTHING, tmp_path, pages=1)) == len(pages) / 2


@pytest.mark.parametrize("name", CODECS)
def test_each_codec_gives_frames_back_and_says_how_coarse_they_are(name: str) -> None:
    ground = picture(1, (120, 160))
    frames = [np.ascontiguousarray(ground[i:i + 80, i:i + 96]) for i in range(FRAMES)]
    coarse, fine = ({"crf": str(crf), **CODECS[name].presets[0]} for crf in (CODECS[name].crf[1], CODECS[name].crf[0]))
    bad, good = (through(name, frames, options) for options in (coarse, fine))
    for coded in (bad, good):
        assert len(coded.luma) == len(coded.kinds) == FRAMES and coded.kinds[0] == "I"
        assert all(0 <= qp <= 52 for qp in coded.quantizers)
    assert np.mean(bad.quantizers) > np.mean(good.quantizers) + 8 and sum(bad.sizes) < sum(good.sizes)
    assert min(map(psnr, good.luma, frames)) > max(map(psnr, bad.luma, frames))


def test_a_constant_quantizer_is_read_as_it_is() -> None:
    frames = [picture(2, (64, 64))] * 3
    coded = through("h264", frames, {"qp": "30", "preset": "fast", "x264-params": "ipratio=1:pbratio=1"})
    assert coded.quantizers == [30.0] * 3


def test_quantizers_of_all_kinds_are_on_one_scale() -> None:
    def parameters(kind: int, qp: int, deltas: list[int]) -> bytes:
        """An AVVideoEncParams, its blocks behind it."""
        head = np.zeros(64, np.uint8)
        head[:4].view(np.uint32)[0] = len(deltas)
        head[8:24].view(np.uint64)[:] = 64, 20
        head[24:32].view(np.int32)[:] = kind, qp
        blocks = np.zeros((len(deltas), 5), np.int32)
        blocks[:, 4] = deltas
        return head.tobytes() + blocks.tobytes()

    assert told(parameters(1, 26, [-2, 4])) == 27
    assert told(parameters(1, 38, [-2, 4]), 10) == 27
    assert told(parameters(0, 57, [])) == as_h264("vp9", 4 + 6 * 3)  # a step of 64 eighths
    assert told(parameters(2, 0, [8, 8])) == as_h264("mpeg", 4 + 6 * 3)
    assert told(parameters(-1, 26, [])) is None
    assert [qp_of_index(index) for index in (0, 255)] == pytest.approx([-2, 51], abs=0.1)


def test_members_train_on_ranges_that_overlap() -> None:
    ranges = [RECIPES[f"fsrcnn-s-video-{i}_x3"].coarseness for i in (1, 2, 3, 4)]
    for one, two in itertools.pairwise(ranges):
        assert one and two and one[0] < two[0] < one[1] < two[1]
    assert {recipe.start for recipe in RECIPES.values() if recipe.coarseness and not recipe.quantized} == {
        f"fsrcnn-s_x{n}" for n in (2, 3, 4)}
