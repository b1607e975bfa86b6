"""Fixtures that all tests share: small clips made on the spot, the real clips, and a guard against stray threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import settings

from vsr.engines import Engine
from vsr.media.pixels import Layout, views

settings.register_profile("vsr", deadline=None)  # a busy machine is no failure
settings.load_profile("vsr")

# Real clips and pictures, which are not part of the repository; tests that need them skip, by name, without them.
DATA = Path(os.environ.setdefault("VSR_TEST_DATA", str(Path(__file__).parents[2] / "shared" / "data")))


@pytest.fixture(autouse=True)
def no_thread_outlives_a_test() -> Iterator[None]:
    yield
    others = [t for t in threading.enumerate() if t is not threading.main_thread()]
    stray = [t for t in others if t.name.startswith("vsr") or not t.daemon]
    assert not stray, f"threads left over: {stray}"


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the window remembers is each test's own."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real clips and pictures."""
    if not DATA.is_dir():
        pytest.skip(f"no test data at {DATA} (set VSR_TEST_DATA)")
    return DATA


class Nearest(Engine):
    """The simplest engine there is: every pixel n x n times."""

    def __init__(self, model: str, scale: int, bits: int = 8, **kwargs: object) -> None:
        super().__init__("nearest", model, scale, bits)

    def _run(self, luma: np.ndarray, out: np.ndarray) -> None:
        out[...] = np.repeat(np.repeat(luma, self.scale, 0), self.scale, 1)

    def use(self, weights: object) -> None:
        """There are none."""


@pytest.fixture
def nearest() -> type[Nearest]:
    return Nearest


def paint(frame: av.VideoFrame, number: int) -> None:
    """Fill a planar frame with a picture that differs from frame to frame and has edges and gradients."""
    layout = Layout.of(frame.format.name)
    assert layout is not None
    peak = (1 << layout.bits) - 1
    for index, plane in enumerate(views(frame)):
        slope, check = ground(plane.shape, 3 + index)
        wave = (slope + number * 7) % 64 + 64 * ((check + number) % 2)
        plane[...] = (wave * peak // 200).astype(plane.dtype) + peak // 8


@lru_cache
def ground(shape: tuple[int, int], steepness: int) -> tuple[np.ndarray, np.ndarray]:
    """What moves from frame to frame: a slope and a chequerboard, int32."""
    rows, columns = np.indices(shape, np.int32)
    return rows * steepness + columns * 5, rows // 8 + columns // 8


Clip = Callable[..., Path]


@pytest.fixture
def clip(tmp_path: Path) -> Clip:
    """A function that makes a small clip: ``clip("a.mp4", pts=[...], audio=2, ...)`` gives its path."""

    def make(
        name: str,
        *,
        size: tuple[int, int] = (48, 32),
        pts: Sequence[int] = range(0, 12 * 512, 512),
        time_base: Fraction = Fraction(1, 12800),
        codec: str = "libx264",
        pix_fmt: str = "yuv420p",
        color: tuple[int, int, int, int] = (0, 2, 2, 2),
        aspect: Fraction | None = None,
        rotation: int = 0,
        audio: int = 0,
        audio_start_s: Fraction = Fraction(0),
        audio_codec: str = "aac",
        chapters: int = 0,
        metadata: dict[str, str] | None = None,
        options: dict[str, str] | None = None,
        muxer_options: dict[str, str] | None = None,
    ) -> Path:
        path = tmp_path / name
        # movie_timescale: a late start is kept in this unit
        muxing = {"movie_timescale": str(time_base.denominator)} if path.suffix in (".mp4", ".mov") else {}
        muxing |= muxer_options or {}
        options = dict(options or {})
        if codec == "libx265":  # its cutree writes beyond its buffers in pictures as narrow as these
            given = options.get("x265-params", "log-level=none")
            options["x265-params"] = f"{given}:cutree=0"
        with av.open(str(path), "w", container_options=muxing) as container:
            container.metadata.update(metadata or {})
            video = container.add_stream(codec, rate=25, options=options)
            video.width, video.height, video.pix_fmt = *size, pix_fmt
            video.time_base = video.codec_context.time_base = time_base
            video.color_range, video.colorspace, video.color_primaries, video.color_trc = color
            if aspect:
                video.codec_context.sample_aspect_ratio = aspect
            if rotation:
                video.set_display_rotation(rotation)
            tracks = []
            for number in range(audio):
                track = container.add_stream(audio_codec, rate=48000)
                track.metadata["language"] = ("eng", "spa", "ita")[number]
                tracks.append(track)
            ticks = sorted(pts)
            length = (ticks[-1] - ticks[0]) * time_base
            if chapters:
                step = round(length * 1000 / chapters)
                container.set_chapters([
                    {"id": i, "start": i * step, "end": (i + 1) * step, "time_base": Fraction(1, 1000),
                     "metadata": {"title": f"Part {i + 1}"}} for i in range(chapters)
                ])
            for number, tick in enumerate(ticks):
                frame = av.VideoFrame(*size, pix_fmt if Layout.of(pix_fmt) else "yuv444p")
                paint(frame, number)
                if frame.format.name != pix_fmt:
                    frame = frame.reformat(format=pix_fmt)
                frame.pts, frame.time_base = tick, time_base
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
            for number, track in enumerate(tracks):
                for start in range(0, max(2048, int(length * 48000)), 1024):
                    tone = np.sin((np.arange(1024) + start) * (0.05 + 0.02 * number), dtype=np.float32)
                    planes = np.stack([tone, tone])
                    sound = av.AudioFrame.from_ndarray(planes, format="fltp", layout="stereo")
                    sound.sample_rate = 48000
                    sound.pts = start + int(audio_start_s * 48000)
                    sound.time_base = Fraction(1, 48000)
                    container.mux(track.encode(sound))
                container.mux(track.encode(None))
        return path

    return make
