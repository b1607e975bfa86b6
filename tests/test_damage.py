"""Broken files: whatever is wrong with one, it ends soon, with what could be decoded or one line, and nothing else."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import Clip
from facts import by_pyav

VARIANTS = int(os.environ.get("VSR_DAMAGE_VARIANTS", "20"))  # of each clip; many more for a longer search
PROCESS_S = 3 * VARIANTS + 60  # for all variants of a few clips: a second or two each on a slow machine, no more
MEMORY = 6 << 30  # of addresses, most of which are never touched

MS = {"time_base": Fraction(1, 1000), "pts": range(0, 480, 40)}
RATE = {"time_base": Fraction(1, 25), "pts": range(12)}
B_FRAMES = {"preset": "medium", "bf": "2"}
GROUPS: dict[str, dict[str, dict[str, Any]]] = {
    "mp4": {
        "h264.mp4": {"audio": 1, "options": B_FRAMES, "chapters": 2},
        "index-first.mp4": {"audio": 1, "muxer_options": {"movflags": "faststart"}},
        "fragments.mp4": {"audio": 1, "muxer_options": {"movflags": "frag_keyframe+empty_moov"}},
        "hevc.mp4": {"codec": "libx265", "size": (64, 32), "options": {"x265-params": "log-level=none"}},
        "prores.mov": {"codec": "prores_ks", "pix_fmt": "yuv422p10le"},
        "png.mov": {"codec": "png", "pix_fmt": "rgb24"},
    },
    "matroska": {
        "h264.mkv": {**MS, "audio": 1, "options": B_FRAMES, "chapters": 2},
        "vp9.webm": {**MS, "codec": "libvpx-vp9", "audio": 1, "audio_codec": "libopus"},
        "vp8.webm": {**MS, "codec": "libvpx"},
        "av1.mkv": {**MS, "codec": "libsvtav1", "size": (64, 64), "options": {"preset": "12"}},
        "ffv1.mkv": {**MS, "codec": "ffv1", "pix_fmt": "yuv422p10le"},
        "mpeg4.mkv": {**MS, "codec": "mpeg4"},
    },
    "others": {
        "mpeg4.avi": {**RATE, "codec": "mpeg4", "audio": 1, "audio_codec": "mp2"},
        "mjpeg.avi": {**RATE, "codec": "mjpeg", "pix_fmt": "yuvj420p"},
        "h264.ts": {"audio": 1, "options": B_FRAMES},
        "mpeg2.ts": {**RATE, "codec": "mpeg2video"},
        "mpeg1.mpg": {**RATE, "codec": "mpeg1video", "audio": 1, "audio_codec": "mp2"},
        "h264.flv": {**MS, "audio": 1},
        "pictures.gif": {"time_base": Fraction(1, 100), "pts": range(0, 48, 4), "codec": "gif", "pix_fmt": "rgb8"},
        "raw.y4m": {**RATE, "codec": "wrapped_avframe"},
    },
}
REAL = [  # small, and of formats that are not made above
    "androidx-media/bbb_176x144_128kbps_15fps_h263.3gp", "decord/unordered.mov", "decord/video_90.mov",
    "torchcodec/animated.gif", "torchcodec/discard_first_keyframe.mp4",
    "torchcodec/nasa_13013_rotated.mp4", "mediainfo.js/AudioVideoInterleave.avi",
]  # fmt: skip


def damaged(data: bytes, dice: random.Random) -> bytes:
    """A copy with one or two defects of the kinds that files come with."""
    copy = bytearray(data)
    for _ in range(dice.randint(1, 2)):
        at, length = dice.randrange(len(copy)), dice.randint(1, max(1, len(copy) // 8))
        head = min(len(copy), 600)
        kind = dice.choice(("flip", "noise", "head", "cut", "zeros", "missing", "twice", "sizes"))
        if kind == "flip":
            for _ in range(dice.randint(1, 20)):
                copy[dice.randrange(len(copy))] ^= 1 << dice.randrange(8)
        elif kind == "noise":
            copy[at : at + length] = dice.randbytes(len(copy[at : at + length]))
        elif kind == "head":
            for _ in range(dice.randint(1, 6)):
                copy[dice.randrange(head)] = dice.randrange(256)
        elif kind == "cut":
            del copy[max(1, at) :]
        elif kind == "zeros":
            copy[at : at + length] = bytes(len(copy[at : at + length]))
        elif kind == "missing":
            del copy[at : at + length]
        elif kind == "twice":
            copy[at:at] = copy[at : at + length]
        else:  # a length or a number out of all bounds
            copy[at : at + 4] = dice.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\x80\0\0\0"))
        if not copy:
            return b"\0"
    return bytes(copy)


def bounded() -> Callable[[], None] | None:
    """What a child process does first: limit its memory, where that can be done."""
    try:
        import resource
    except ImportError:
        return None
    return lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def survive(clips: list[Path], tmp_path: Path, preset: Sequence[str] = ("--preset", "ultrafast")) -> dict[str, int]:
    """Damage each of ``clips`` in VARIANTS ways, upscale all in one process, and see that each ended as it should."""
    broken, made = tmp_path / "broken", tmp_path / "made"
    broken.mkdir()
    made.mkdir()
    inputs = []
    for clip in clips:
        data = clip.read_bytes()
        for seed in range(VARIANTS):
            path = broken / f"{clip.stem}-{clip.suffix[1:]}-{seed}{clip.suffix}"
            path.write_bytes(damaged(data, random.Random(f"{clip.name} {seed}")))
            inputs.append(path)
    command = [sys.executable, "-m", "vsr", "upscale", *map(str, inputs), "-o", str(made), "--progress", "json"]
    command += ["--model", "bicubic", *preset]
    with (tmp_path / "stdout").open("w+") as out, (tmp_path / "stderr").open("w+") as err:
        try:
            status = subprocess.run(command, stdout=out, stderr=err, timeout=PROCESS_S, preexec_fn=bounded()).returncode
        except subprocess.TimeoutExpired:
            status = None
        out.seek(0)
        err.seek(0)
        events = [json.loads(line) for line in out]
        lines = err.read().splitlines()

    last = events[-1] if events else None
    assert status is not None, f"hangs after {last}"
    assert status >= 0, f"crashes with signal {-status} after {last}"
    by_input: dict[str, dict[str, Any]] = defaultdict(dict)
    for event in events:
        by_input[event["input"]][event["event"]] = event
    problems = [line for line in lines if "Traceback" in line]
    ends: dict[str, int] = defaultdict(int)
    files: set[Path] = set()
    for path in inputs:
        ended = [by_input[str(path)][name] for name in ("done", "error") if name in by_input[str(path)]]
        if len(ended) != 1:
            problems.append(f"{path.name} has {len(ended)} ends")
        elif ended[0]["event"] == "done":
            ends["done"] += 1
            output = Path(ended[0]["output"])
            files.add(output)
            facts = by_pyav(output)
            if len(facts.times) != ended[0]["frames"] or facts.errors:
                problems.append(f"{path.name}: {len(facts.times)} of {ended[0]['frames']} frames {facts.errors[:1]}")
        else:
            code, message = ended[0]["code"], ended[0]["message"]
            ends[code] += 1
            # A header may tell of a picture that no encoder takes; everything else is the input's fault.
            if code != "input" and "cannot encode" not in message:
                problems.append(f"{path.name}: {code}: {message}")
            files |= set(made.glob(f"{path.stem}_x2.failed-check.*"))
    errors = sum(ends.values()) - ends["done"]
    ours = [line for line in lines if line.startswith("vsr: ")]
    if len(ours) != errors:
        problems.append(f"{len(ours)} lines on stderr for {errors} errors")
    problems += [f"left behind: {path}" for path in set(made.iterdir()) ^ files]
    assert not problems, "\n".join(problems)
    assert status in (0, 3, 4) and (status != 0) == (errors > 0)
    return dict(ends)


@pytest.mark.parametrize("group", GROUPS)
def test_broken_files_end_with_what_they_hold_or_one_line(group: str, clip: Clip, tmp_path: Path) -> None:
    ends = survive([clip(name, **options) for name, options in GROUPS[group].items()], tmp_path)
    print(group, ends)
    assert 2 * ends["done"] > ends.get("input", 0)


def test_real_files_when_broken(data: Path, tmp_path: Path) -> None:
    print(survive([data / "video" / name for name in REAL], tmp_path))


def test_pictures_when_broken(tmp_path: Path) -> None:
    picture = np.add.outer(np.arange(32), np.arange(48) * 3)[..., None] * np.array([1, 2, 3])
    clips = [tmp_path / f"picture.{suffix}" for suffix in ("png", "jpg", "webp", "tiff", "bmp", "avif")]
    for path in clips:
        cv2.imwrite(str(path), picture.astype(np.uint8))
    print(survive([path for path in clips if path.exists()], tmp_path, preset=()))
