"""Frames by time from anywhere, and sound from any time on: the same as in one course through the file."""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import Clip
from test_decode import interlaced

from vsr.errors import InputError
from vsr.frame import Frame
from vsr.media.decode import Decoder
from vsr.media.reel import Reel, Track

TICK = Fraction(1, 12800)
FEW = 0.02  # MB: some frames of the clips here


def course(path: Path) -> list[Frame]:
    with Decoder(path) as source:
        return [item for item in source if isinstance(item, Frame)]


def same_planes(one: Frame | None, other: Frame) -> bool:
    return (one is not None and one.pts == other.pts
            and all(map(np.array_equal, one.planes, other.planes)))  # fmt: skip


def same_time(one: Frame | None, other: Frame) -> bool:
    """Of a damaged file: a decoder conceals a picture with what it saw before, which depends on where it began."""
    return one is not None and one.pts == other.pts


def h264(clip: Clip) -> Path:
    return clip("a.mp4", pts=range(0, 60 * 512, 512), options={"g": "12", "bf": "3"})


def open_gop(clip: Clip) -> Path:
    options = {"g": "10", "bf": "3", "x264-params": "open-gop=1"}
    return clip("a.mkv", pts=range(0, 2400, 40), time_base=Fraction(1, 1000), options=options)


def one_gop(clip: Clip) -> Path:
    return clip("a.mp4", pts=range(0, 40 * 512, 512), options={"g": "1000"})


def variable_rate(clip: Clip) -> Path:
    steps = np.random.default_rng(0).integers(1, 4000, 60).cumsum().tolist()
    return clip("a.mp4", pts=steps, options={"g": "12", "bf": "2"})


def late_start(clip: Clip) -> Path:
    return clip("a.mp4", pts=range(25600, 25600 + 40 * 512, 512), options={"g": "8"}, audio=1)


def rotated(clip: Clip) -> Path:
    return clip("a.mov", pts=range(0, 40 * 512, 512), rotation=90, options={"g": "8"})


def transport(clip: Clip) -> Path:
    options = {"g": "12", "bf": "2"}
    return clip("a.ts", pts=range(0, 60 * 3600, 3600), time_base=Fraction(1, 90000), options=options)


def turning_over(clip: Clip) -> Path:
    timing = {"pts": range(9000, 9000 + 25 * 3600, 3600), "time_base": Fraction(1, 90000)}
    return clip("a.ts", **timing, options={"g": "5"}, muxer_options={"output_ts_offset": "95441"})


def program(clip: Clip) -> Path:
    timing = {"pts": range(60), "time_base": Fraction(1, 25)}
    return clip("a.mpg", codec="mpeg2video", **timing, options={"g": "12", "bf": "2"})


def without_pts(clip: Clip) -> Path:
    timing = {"pts": range(60), "time_base": Fraction(1, 25)}
    return clip("a.avi", codec="mpeg4", **timing, options={"g": "12", "bf": "2"})


def without_times(clip: Clip) -> Path:
    return clip("a.h264", pts=range(40), time_base=Fraction(1, 25), options={"g": "12", "bf": "2"})


def truncated(clip: Clip) -> Path:
    path = clip("a.mkv", pts=range(0, 2400, 40), time_base=Fraction(1, 1000), options={"g": "12"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 5])
    return path


def damaged(clip: Clip) -> Path:
    path = clip("a.mkv", pts=range(0, 2400, 40), time_base=Fraction(1, 1000), options={"g": "12"})
    data = bytearray(path.read_bytes())
    place = len(data) * 2 // 5
    data[place : place + 3000] = bytes(3000)
    path.write_bytes(data)
    return path


def fields(clip: Clip) -> Path:
    return interlaced(clip("unused.mp4").parent / "fields.mkv", "mpeg2video", "tff")


CLIPS = [h264, open_gop, one_gop, variable_rate, late_start, rotated, transport, turning_over, program, without_pts,
         without_times, truncated, damaged, fields]  # fmt: skip


@pytest.mark.parametrize("cache_mb", [FEW, 100])
@pytest.mark.parametrize("make", CLIPS)
def test_every_way_to_a_frame_gives_the_same(make: Callable[[Clip], Path], cache_mb: float, clip: Clip) -> None:
    path = make(clip)
    frames = course(path)
    same = same_time if make is damaged else same_planes
    order = list(range(len(frames)))
    random.Random(1).shuffle(order)
    with Reel(path, cache_mb) as reel:
        times = [reel.time(frame) for frame in frames]
        for number in order[:20]:
            frame = reel.at(times[number])
            assert same(frame, frames[number]), number
            if number + 1 < len(frames):
                between = (times[number] + times[number + 1]) / 2
                assert same(reel.at(between), frames[number]), number
                assert same(reel.after(frame), frames[number + 1]), number
            else:
                assert reel.after(frame) is None and same(reel.at(times[-1] + 100), frames[-1])
            for earlier in range(number - 1, max(-1, number - 4), -1):
                before = reel.before(frame)
                assert before is not None and same(before, frames[earlier]), (number, earlier)
                frame = before
        assert reel.before(frames[0]) is None and same(reel.at(Fraction(-5)), frames[0])


@pytest.mark.parametrize("make", CLIPS)
def test_one_after_the_other_is_what_the_decoder_gives(make: Callable[[Clip], Path], clip: Clip) -> None:
    path = make(clip)
    with Reel(path, FEW) as reel:
        frame: Frame | None = reel.at(Fraction(0))
        got = other = 0
        for wanted in course(path):
            assert frame is not None and same_time(frame, wanted)
            got += 1
            other += not same_planes(frame, wanted)
            frame = reel.after(frame)
        assert frame is None and got and other <= 2 * (make is damaged)


def test_the_cache_keeps_to_its_bound(clip: Clip) -> None:
    path = clip("a.mp4", pts=range(0, 60 * 512, 512), options={"g": "60"})
    size = 2 * 48 * 32  # about, with padded rows; what it really is, is measured
    with Reel(path, 0) as reel:
        size = reel.held_bytes
        for time in (0, 1, 2, Fraction(1, 2)):
            frame = reel.at(Fraction(time))
            reel.before(frame)
            assert len(reel._held) <= 2 and reel.held_bytes <= 2 * size
    with Reel(path, 10 * size / 1e6) as reel:
        frame = reel.at(Fraction(2))
        for _ in range(40):
            assert reel.held_bytes == sum(map(_size, reel._held)) <= 10 * size
            frame = reel.before(frame) or frame
        assert len(reel._held) == 10


def _size(frame: Frame) -> int:
    return sum(plane.strides[0] * len(plane) for plane in frame.planes)


def test_stepping_back_decodes_a_group_once(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    path = clip("a.mp4", pts=range(0, 60 * 512, 512), options={"g": "30", "sc_threshold": "0"})
    sought = []
    seek = Decoder.seek
    monkeypatch.setattr(Decoder, "seek", lambda self, time: (sought.append(time), seek(self, time))[1])
    with Reel(path) as reel:
        frame = reel.at(Fraction(58, 25))
        assert len(sought) == 1  # far ahead
        for _ in range(58):
            before = reel.before(frame)
            assert before is not None
            frame = before
        assert len(sought) == 2 and frame.pts == 0


def test_what_is_damaged_says_so_once(clip: Clip) -> None:
    path = clip("a.mov", codec="png", pix_fmt="rgb24")
    pictures = path.read_bytes().split(b"\x89PNG")
    path.write_bytes(b"\x89PNG".join(pictures[:4]) + b"nope" + b"\x89PNG".join(pictures[4:]))
    with Reel(path) as reel:
        for _ in range(2):
            frame: Frame | None = reel.at(Fraction(0))
            got = 0
            while frame is not None:
                got, frame = got + 1, reel.after(frame)
            assert got == 11
        assert [code for code, _ in reel.warnings] == ["damaged"]


def test_what_cannot_be_read_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        Reel(tmp_path / "none.mp4")


# ---- sound ---------------------------------------------------------------------------------------------------------


def heard(track: Track, start: Fraction) -> np.ndarray:
    """All of it in one, and the times of its blocks held to it."""
    blocks = list(track.blocks(start))
    samples = 0
    for block in blocks:
        assert block.time == start + Fraction(samples, track.rate)
        assert block.samples.dtype == np.float32 and block.samples.shape[1:] == (2,)
        samples += len(block.samples)
    return np.concatenate([block.samples for block in blocks])


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "aac"), ("a.mkv", "flac"), ("a.mov", "pcm_s16le")])
@pytest.mark.parametrize("start", [Fraction(0), Fraction(1), Fraction(12345, 10000)])
def test_sound_from_any_time_on_is_that_of_the_whole(name: str, codec: str, start: Fraction, clip: Clip) -> None:
    base = Fraction(1, 1000) if name.endswith("mkv") else TICK
    path = clip(name, pts=range(0, round(2 / base), round(1 / (25 * base))), time_base=base, audio=1,
                audio_codec=codec)  # fmt: skip
    track = Track(path)
    whole, part = heard(track, Fraction(0)), heard(track, start)
    first = round(start * 48000)
    assert abs(len(whole) - len(part) - first) <= 48  # containers round to milliseconds
    tone = np.sin(np.arange(len(whole)) * 0.05)
    near = {"aac": 0.2, "flac": 0.05, "pcm_s16le": 1e-3}[codec]  # flac: of a time that is a millisecond's
    if codec == "flac":
        places = range(max(0, first - 48), first + 49)
        first = min(places, key=lambda place: float(np.abs(whole[place : place + 9] - part[:9]).sum()))
    assert np.abs(part[:24000] - whole[first : first + 24000]).max() < 1e-3
    assert np.abs(whole[:90000, 0] - tone[:90000])[2000:].max() < near


def test_sound_comes_at_the_devices_rate_and_late_sound_late(clip: Clip) -> None:
    path = clip("a.mov", pts=range(0, 50 * 512, 512), audio=1, audio_codec="pcm_s16le", audio_start_s=Fraction(1, 2))
    samples = heard(Track(path, 44100), Fraction(0))
    assert not samples[:22000].any() and np.abs(samples[22100:22500]).max() > 0.5
    wanted = np.sin((np.arange(40000) * 48000 / 44100) * 0.05)
    assert np.abs(samples[22050:62050, 0] - wanted)[100:].max() < 0.01


def test_a_gap_is_silent_and_what_follows_keeps_its_time(tmp_path: Path) -> None:
    path = tmp_path / "gap.mkv"
    with av.open(str(path), "w") as container:
        track = container.add_stream("pcm_s16le", rate=48000)
        for start in (0, 96000):
            sound = av.AudioFrame.from_ndarray(np.full((1, 2 * 48000), 16384, np.int16), format="s16", layout="stereo")
            sound.sample_rate, sound.pts, sound.time_base = 48000, start, Fraction(1, 48000)
            container.mux(track.encode(sound))
        container.mux(track.encode(None))
    samples = heard(Track(path), Fraction(0))
    assert len(samples) == 144000
    assert not samples[48000:96000].any() and (samples[:48000] == 0.5).all() and (samples[96000:] == 0.5).all()


def test_a_file_without_sound_has_none(clip: Clip) -> None:
    track = Track(clip("a.mp4"))
    assert track.stream is None and list(track.blocks(Fraction(0))) == []
