"""The measurement of compressed video, on a small clip and random weights: what it measures is what it says."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from compression import CLIPS, CODINGS, Models, compress, decoded, errors, flickering, main, measured, read, report

from vsr.models.catalogue import random_weights, save_file
from vsr.models.family import MEMBERS, NAME
from vsr.quality.metrics import psnr
from vsr.training import compressed


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    """Something that moves."""
    noise = cv2.GaussianBlur(np.random.default_rng(0).uniform(0, 1, (200, 240)), (0, 0), 4)
    ground = np.clip(cv2.GaussianBlur(60 + 120.0 * (noise > noise.mean()), (0, 0), 0.8), 16, 235).astype(np.uint8)
    return [np.ascontiguousarray(ground[i:i + 160, 2 * i:2 * i + 192]) for i in range(9)]


@pytest.fixture(scope="module")
def models() -> Models:
    weights = [replace(random_weights(32, 5, 1, 2, seed), name=name) for seed, name in enumerate(MEMBERS)]
    return Models(2, weights, 1)


def test_what_trains_is_not_measured() -> None:
    films = [Path(clip).stem for clip, _ in CLIPS.values()]
    assert not {Path(clip).stem for clip in compressed.CLIPS} & set(films) and len(films) == len(set(films))


@pytest.mark.parametrize("coding", CODINGS)
def test_each_coding_gives_every_frame_back(coding: str, frames: list[np.ndarray], tmp_path: Path) -> None:
    truth = compress(frames, CODINGS[coding], tmp_path / "a.mkv")
    assert (truth is None) == (CODINGS[coding].told is None)
    found = list(decoded(tmp_path / "a.mkv"))
    assert len(found) == len(frames) and {member for _, member in found} <= set(range(len(MEMBERS)))
    quality = [psnr(frame.luma, high) for (frame, _), high in zip(found, frames, strict=True)]
    assert min(quality) == np.inf if coding == "none" else 20 < min(quality) < 60


def test_scores_are_of_frames_that_belong_together(frames: list[np.ndarray], models: Models, tmp_path: Path) -> None:
    rows = [measured("a", frames, coding, models, tmp_path) for coding in ("none", "H.264 CRF 33", "HEVC CRF 28")]
    clean, coarse, hevc = (row.scores for row in rows)
    assert 25 < coarse["bicubic"].psnr < clean["bicubic"].psnr
    assert clean[NAME] == clean[MEMBERS[0]] and coarse[NAME] in [coarse[member] for member in MEMBERS[1:]]
    assert hevc and rows[0].quantizer is None and (rows[1].quantizer or 0) > 25 and rows[2].truth is not None
    assert all(sum(row.shares) == pytest.approx(1) for row in rows)
    text = report(2, rows)
    assert f"{rows[1].gain(NAME):+.2f}" in text and "H.264 CRF 33" in text and "100% 0%" in text
    off = (rows[2].quantizer or 0) - (rows[2].truth or 0)
    assert f"| hevc | 1 | {off:+.1f} |" in errors(rows)


def test_a_still_that_is_not_compressed_does_not_flicker(
    frames: list[np.ndarray], models: Models, tmp_path: Path
) -> None:
    assert set(flickering(frames[0], "none", models, tmp_path).values()) == {0.0}


def test_the_whole_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "video").mkdir()
    with av.open(str(tmp_path / "video" / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", 25, width=128, height=96, pix_fmt="gray")
        for i in range(9):
            picture = np.random.default_rng(i).integers(16, 236, (96, 128), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(cv2.GaussianBlur(picture, (0, 0), 2), "gray")))
        container.mux(stream.encode(None))
    for seed, member in enumerate(MEMBERS):
        save_file(tmp_path / f"{member}_x2.safetensors", random_weights(32, 5, 1, 2, seed))
    monkeypatch.setattr("compression.CLIPS", {"small": ("a.mkv", False)})
    monkeypatch.setattr("compression.STILLS", ("small",))
    monkeypatch.setattr("compression.FIRST", 0)
    monkeypatch.setattr("compression.CODINGS", dict(itertools.islice(CODINGS.items(), 2)))
    assert len(read(tmp_path / "video" / "a.mkv", True, 2, 3, 4)) == 3
    main(["--data", str(tmp_path), "--weights", str(tmp_path), "--scale", "2", "--threads", "1"])
    page = capsys.readouterr().out
    assert page.startswith("# Compressed video") and page.count("| small |") == 3 and "H.264 CRF 12" in page
