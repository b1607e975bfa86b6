"""Recording live frames: their true times, files that break off, full disks; snapshots and virtual cameras."""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import cv2
import numpy as np
import pytest
from test_camera import Cam, numbered, read_number, yuyv
from test_live import events, next_of, opened, paced, said, until

from vsr.cli import main
from vsr.errors import InputError, OutputError, UsageError
from vsr.frame import Color, Frame
from vsr.live import outlets
from vsr.media import record
from vsr.media.camera import TICK
from vsr.media.codecs import EncoderSettings
from vsr.media.microphone import Block, find_microphone, microphones, open_microphone
from vsr.media.pixels import views
from vsr.media.record import Recorder
from vsr.player import Shown
from vsr.sides import Box, Choice, Side, View

EXACT = EncoderSettings(codec="ffv1")
BT601 = Color(1, 6, 6, 6, 1)


def frames(count: int, size: tuple[int, int] = (480, 96), begin_s: Fraction = Fraction(1000), step_ms: int = 40,
           color: Color = BT601) -> Iterator[Frame]:
    """Numbered frames of 4:2:0 that come at uneven times."""
    small = -(-size[1] // 2), -(-size[0] // 2)
    for number in range(count):
        at = begin_s + Fraction(number * step_ms + number % 3 * 7, 1000)
        chroma = np.full(small, 90, np.uint8), np.full(small, 160, np.uint8)
        yield Frame((numbered(number, size), *chroma), 8, round(at / TICK), TICK, color=color)


def read(path: Path) -> list[tuple[int, np.ndarray]]:
    """The times in ms and the luma of a file."""
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        return [(round(frame.pts * video.time_base * 1000), views(frame)[0].copy())
                for frame in container.decode(video)]


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_frames_keep_their_times_and_colours(suffix: str, tmp_path: Path) -> None:
    target = tmp_path / f"a{suffix}"
    recorder = Recorder(target)
    given = list(frames(30))
    for frame in [*given[:10], given[9], *given[10:]]:  # one comes twice
        recorder.write(frame)
    assert not target.exists()
    assert recorder.close() == [target]
    got = read(target)
    assert [ms for ms, _ in got] == [number * 40 + number % 3 * 7 for number in range(30)]
    assert [read_number(luma) for _, luma in got] == list(range(30))
    with av.open(str(target)) as container:
        picture = next(container.decode(video=0))
        assert (picture.color_range, picture.colorspace, picture.format.name) == (1, 6, "yuv420p")


def test_another_size_begins_another_file(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a.mkv", EXACT)
    for frame in itertools.chain(frames(3), frames(2, (482, 97), Fraction(1001)), frames(4, begin_s=Fraction(1002))):
        recorder.write(frame)
    assert [path.name for path in recorder.close()] == ["a.mkv", "a-2.mkv", "a-3.mkv"]
    got = [read(path) for path in recorder.files]
    assert [len(each) for each in got] == [3, 2, 4] and [each[0][0] for each in got] == [0, 0, 0]
    assert got[1][0][1].shape == (97, 482)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-2.mkv", "a-3.mkv", "a.mkv"]


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_what_breaks_off_plays_as_far_as_it_came_and_is_told(suffix: str, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / f"a{suffix}")
    for frame in frames(200):
        recorder.write(frame)
    (part,) = tmp_path.iterdir()
    whole = part.read_bytes()
    recorder.close()
    (tmp_path / f"a{suffix}").unlink()
    part.write_bytes(whole)  # as a power cut leaves it
    got = read(part)
    assert len(got) > 200 - 1000 // 40 and [read_number(luma) for _, luma in got] == list(range(len(got)))
    again = Recorder(tmp_path / f"a{suffix}")
    assert [(code, str(part) in message) for code, message in again.warnings] == [("leftover", True)]


def test_a_disk_that_gets_full_is_told_before(tmp_path: Path) -> None:
    free = iter([1 << 40, 1 << 40, (64 << 20) + 200_000, (64 << 20) + 100_000, 1000])
    recorder = Recorder(tmp_path / "a.mkv", EXACT, free=lambda path: next(free))
    with pytest.raises(OutputError, match="nearly full"):
        for frame in frames(1000):
            recorder.write(frame)
    assert [code for code, _ in recorder.warnings] == ["disk"]
    assert "full in about" in recorder.warnings[0][1]
    (path,) = recorder.close()
    assert len(read(path)) > 50


def test_what_cannot_be_recorded_is_refused(tmp_path: Path) -> None:
    there = tmp_path / "there.mkv"
    there.write_text("mine")
    for target, error, said_ in ((there, OutputError, "exists already"), (tmp_path / "a.avi", UsageError, "mkv or"),
                                 (tmp_path / "no" / "a.mkv", OutputError, "does not exist")):
        with pytest.raises(error, match=said_):
            Recorder(target)
    recorder = Recorder(there, overwrite=True)
    for frame in frames(3):
        recorder.write(frame)
    assert there.read_text() == "mine"
    assert recorder.close() == [there] and len(read(there)) == 3
    assert Recorder(tmp_path / "empty.mkv").close() == []


# ---- live ----------------------------------------------------------------------------------------------------------


def test_live_is_recorded_as_it_is_shown(tmp_path: Path) -> None:
    target, now = tmp_path / "a.mkv", [10.0]

    def pictures() -> Iterator[np.ndarray]:
        for number in itertools.count():
            time.sleep(0.02)
            now[0] = 10 + due_s(number)
            yield yuyv(numbered(number))

    def due_s(number: int) -> float:
        return number / 25 + number % 3 * 0.007

    with opened(capture=lambda number: Cam(pictures(), "YUYV"), view=View(Box(0, 0, 8, 8), None),
                now=lambda: now[0]) as live:
        next_of(live, lambda shown: live.ready)
        live.record(target, "both")
        assert live.recording
        whole = next_of(live, lambda shown: shown.sr is not None and shown.bicubic is not None)
        assert whole.bicubic is not None and whole.bicubic.box.width == 480  # all of it, whatever is looked at
        for _ in range(10):
            next_of(live)
        live.stop_recording()
        assert said(live, "recorded") == str(target) and not live.recording
    got = read(target)
    assert got[0][1].shape == (192, 1920)
    numbers = [read_number(luma[:, 960:], 2) for _, luma in got]
    assert len(numbers) >= 10 and numbers == sorted(set(numbers))
    for (ms, _), number in zip(got, numbers, strict=True):
        assert abs(ms - 1000 * (due_s(number) - due_s(numbers[0]))) <= 1


def test_a_recording_is_completed_when_live_ends(tmp_path: Path) -> None:
    with opened("test") as live:
        live.record(tmp_path / "a.mp4")
        next_of(live, lambda shown: live.ready)
        for _ in range(8):
            next_of(live)
    assert list(live.messages).count(("recorded", str(tmp_path / "a.mp4"))) == 1
    assert len(read(tmp_path / "a.mp4")) >= 7


def test_a_recording_that_fails_is_told_and_goes_on_as_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: Recorder, frame: Frame) -> None:
        raise OutputError("out of luck")

    monkeypatch.setattr(Recorder, "write", fails)
    with opened("test") as live:
        live.record(tmp_path / "a.mkv")
        assert said(live, "output") == "out of luck" and not live.recording
        next_of(live)


def test_what_ended_with_an_error_is_completed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, told = Recorder.write, list[tuple[str, str]]()

    def fails_later(self: Recorder, frame: Frame) -> None:
        if self._last > 0:
            raise OutputError("out of luck")
        write(self, frame)

    monkeypatch.setattr(Recorder, "write", fails_later)
    with outlets.Outlets(lambda *message: told.append(message)) as all_:
        recording = outlets.Recording(Recorder(tmp_path / "a.mkv"), "sr", lambda *message: told.append(message))
        all_.add(recording)
        for frame in frames(4):
            shown = Shown(frame, Fraction(0), 0, None, Side(Box(0, 0, 480, 96), frame), Choice(), None, None)
            all_.give(shown, "", [recording])
    assert told == [("output", "out of luck"), ("recorded", str(tmp_path / "a.mkv"))]
    assert len(read(tmp_path / "a.mkv")) == 2


def test_whatever_one_outlet_fails_with_the_others_go_on(tmp_path: Path) -> None:
    class Breaks(Lent):
        def send(self, frame: np.ndarray) -> None:
            raise RuntimeError("the driver is gone")

    lent.clear()
    with opened("test") as live:
        next_of(live, lambda shown: live.ready)
        live.record(tmp_path / "a.mkv")
        live.lend(camera=Breaks)
        assert "the driver is gone" in said(live, "output") and not live.lending and live.recording
        for _ in range(3):
            next_of(live)
    assert lent[0].closed and ("recorded", str(tmp_path / "a.mkv")) in live.messages
    assert len(read(tmp_path / "a.mkv")) >= 3


def test_a_file_that_cannot_be_begun_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: object) -> None:
        raise OutputError("no such encoder")

    monkeypatch.setattr(record.Coder, "add_stream", fails)
    recorder = Recorder(tmp_path / "a.mkv")
    with pytest.raises(OutputError, match="no such encoder"):
        recorder.write(next(frames(1)))
    assert recorder.close() == [] and not list(tmp_path.iterdir())


def test_a_snapshot_is_a_picture_of_what_is_shown(tmp_path: Path) -> None:
    with opened(capture=lambda number: Cam(paced(25, {}), "YUYV")) as live:
        next_of(live, lambda shown: live.ready)
        live.snapshot(tmp_path / "a.png")
        assert said(live, "saved") == str(tmp_path / "a.png")
        live.snapshot(tmp_path / "a.png")
        assert "exists already" in said(live, "output")
    picture = cv2.imread(str(tmp_path / "a.png"))
    assert picture is not None and picture.shape == (192, 960, 3)


class Lent:
    """What stands for ``pyvirtualcam.Camera``."""

    device = "/dev/video9"

    def __init__(self, width: int, height: int, fps: float, fmt: str) -> None:
        assert fmt == "I420" and fps > 0
        self.width, self.height, self.got, self.closed = width, height, list[np.ndarray](), False
        lent.append(self)

    def send(self, frame: np.ndarray) -> None:
        assert frame.shape == (self.width * self.height * 3 // 2,) and frame.dtype == np.uint8
        self.got.append(frame.copy())

    def close(self) -> None:
        self.closed = True


lent: list[Lent] = []


def test_other_programs_see_the_picture() -> None:
    lent.clear()
    with opened(capture=lambda number: Cam(paced(50, {}), "YUYV")) as live:
        next_of(live, lambda shown: live.ready)
        live.lend(camera=Lent)
        assert "/dev/video9" in said(live, "virtual") and live.lending
        next_of(live, lambda shown: lent[0].got)
        live.region = Box(0, 0, 481, 33)
        next_of(live, lambda shown: len(lent) == 2 and lent[1].got)
        live.stop_lending()
        assert not live.lending
    assert all(camera.closed for camera in lent)
    assert (lent[0].width, lent[0].height) == (960, 192) and (lent[1].width, lent[1].height) == (960, 66)
    luma = lent[0].got[-1][: 960 * 192].reshape(192, 960)
    assert read_number(luma, 2) > 0
    assert set(lent[0].got[-1][960 * 192 :]) == {100, 150}


def test_a_virtual_camera_without_driver_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(**kind: Any) -> Any:
        raise RuntimeError("no device")

    monkeypatch.setattr(outlets.sys, "platform", "win32")
    with opened("test") as live:
        live.lend(camera=none)
        assert "OBS Studio" in said(live, "output")
        next_of(live)
        monkeypatch.setitem(__import__("sys").modules, "pyvirtualcam", None)
        with pytest.raises(OutputError, match=r"vsr\[camera\]"):
            live.lend()


def test_full_range_and_other_subsampling_become_what_drivers_take() -> None:
    outlet = outlets.VirtualCamera("sr", 30, Lent, lambda code, message: None)
    lent.clear()
    white, black = np.full((10, 16), 255, np.uint8), np.zeros((10, 16), np.uint8)
    for luma, chroma in ((white, (10, 16)), (black, (10, 8)), (white, None)):
        planes = (luma,) if chroma is None else (luma, np.full(chroma, 128, np.uint8), np.full(chroma, 128, np.uint8))
        outlet.write(Frame(planes, 8, 0, TICK, color=Color(2, 6)))
    outlet.close()
    assert [int(np.median(frame[:160])) for frame in lent[0].got] == [235, 16, 235]
    assert all(set(frame[160:]) == {128} for frame in lent[0].got)


# ---- the command ---------------------------------------------------------------------------------------------------


def test_the_command_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "a.mkv"
    arguments = ["live", "--headless", "--source", "test", "--size", "480x96", "--model", "bicubic", "--duration", "2",
                 "--record", str(target), "--progress", "json"]
    assert main(arguments) == 0
    got = events(capsys.readouterr().out)
    assert got[0]["output"] == got[-1]["output"] == str(target) and got[-1]["outputs"] == [str(target)]
    assert len(read(target)) > 1
    assert main(arguments) == 4
    out = capsys.readouterr()
    assert json.loads(out.out)["code"] == "output" and "exists already" in out.err
    assert main([*arguments, "--overwrite", "--show", "both"]) == 0
    assert read(target)[0][1].shape == (192, 1920)
    capsys.readouterr()
    assert main(["live", "--headless", "--source", "test", "--record", str(tmp_path / "a.txt")]) == 2


def test_the_command_ends_when_what_it_is_for_cannot_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: Recorder, frame: Frame) -> None:
        raise OutputError("the disk is full")

    monkeypatch.setattr(Recorder, "write", fails)
    arguments = ["live", "--headless", "--source", "test", "--model", "bicubic", "--progress", "json"]
    assert main([*arguments, "--record", str(tmp_path / "a.mkv")]) == 4
    got = events(capsys.readouterr().out)
    assert ("output", "the disk is full") in [(each.get("code"), each.get("message")) for each in got]
    assert got[-1]["event"] == "done" and got[-1]["outputs"] == []


# ---- the microphone ------------------------------------------------------------------------------------------------


class Mic:
    """A microphone by a clock of its own: each second of the ``clock`` has so many samples, which beep whenever a
    second of the clock begins. ``hears`` says for a block's time whether it is given, ``late_s`` how late."""

    name = "Beeper"

    def __init__(self, clock: list[float], rate: int = 48000, channels: int = 1, true_rate: float | None = None,
                 late_s: float = 0, hears: Callable[[float], bool] = lambda at: True) -> None:
        self.clock, self.rate, self.channels, self.late_s, self.hears = clock, rate, channels, late_s, hears
        self.true_rate, self.begun, self.given, self.closed = true_rate or rate, clock[0], 0, False

    def listen(self) -> None:
        pass

    def blocks(self) -> list[Block]:
        found, size = [], self.rate // 50
        while (at := self.begun + self.given / self.true_rate) + size / self.true_rate + self.late_s <= self.clock[0]:
            times = at + np.arange(size) / self.true_rate
            beep = np.where(times % 1 < 0.1, 0.8 * np.sin(2 * np.pi * 1000 * times), 0).astype(np.float32)
            self.given += size
            if self.hears(at):
                found.append(Block(at, np.repeat(beep[:, None], self.channels, axis=1)))
        return found

    def close(self) -> None:
        assert not self.closed
        self.closed = True


def recorded(target: Path, seconds: int, **options: Any) -> tuple[Mic, Recorder]:
    """So many seconds of numbered frames, 25 of them each, with a microphone."""
    clock = [999.7]
    mic = Mic(clock, **options)
    recorder = Recorder(target, listen=lambda: mic)
    for frame in frames(25 * seconds):
        assert frame.pts is not None
        clock[0] = float(frame.pts * frame.time_base)
        recorder.write(frame)
    assert recorder.close() == [target] and mic.closed
    return mic, recorder


def heard(path: Path) -> tuple[list[float], float]:
    """When beeps begin in a file whose clock began at a whole second, and when its sound ends; in seconds."""
    with av.open(str(path)) as container:
        sound = container.streams.audio[0]
        assert abs((sound.start_time or 0) * sound.time_base) < 0.04
        rate, pieces = sound.codec_context.sample_rate, list[np.ndarray]()
        first = 0
        for frame in container.decode(sound):
            assert frame.pts is not None and frame.time_base is not None
            at = round(frame.pts * frame.time_base * rate)
            first = first if pieces else at
            assert abs(at - first - sum(map(len, pieces))) <= rate // 500  # Matroska tells times by milliseconds
            pieces.append(frame.to_ndarray()[0])
    level = np.abs(np.concatenate(pieces))
    loud = np.convolve(level > 0.2, np.ones(96), "same") > 10
    begins = np.flatnonzero(loud[1:] & ~loud[:-1])
    ends = (first + len(level)) / rate
    return [float((first + begin) / rate) for begin in begins], ends


@pytest.mark.parametrize(("suffix", "rate", "channels"), [(".mkv", 48000, 1), (".mp4", 44100, 2)])
def test_sound_lies_at_its_time(suffix: str, rate: int, channels: int, tmp_path: Path) -> None:
    target = tmp_path / f"a{suffix}"
    _, recorder = recorded(target, 5, rate=rate, channels=channels)
    assert not recorder.warnings
    got, (beeps, ends) = read(target), heard(target)
    assert [ms for ms, _ in got] == [number * 40 + number % 3 * 7 for number in range(125)]
    assert [round(at) for at in beeps[-4:]] == [1, 2, 3, 4]
    assert all(abs(at - round(at)) < 0.01 for at in beeps[-4:])
    assert abs(ends - got[-1][0] / 1000) < 0.04
    with av.open(str(target)) as container:
        assert [stream.codec_context.name for stream in container.streams] == ["h264", "aac"]
        assert [abs(float((s.start_time or 0) * s.time_base)) < 0.04 for s in container.streams] == [True, True]


@pytest.mark.parametrize("true_rate", [48100, 47900])
def test_a_device_whose_clock_is_wrong_is_followed_by_the_times(true_rate: int, tmp_path: Path) -> None:
    """Without that, 20 s of it would end 42 ms off; a beep stays where it is within a few milliseconds."""
    recorded(tmp_path / "a.mkv", 20, true_rate=true_rate)
    beeps, _ = heard(tmp_path / "a.mkv")
    assert [round(at) for at in beeps[-15:]] == [*range(5, 20)]
    assert all(abs(at - round(at)) < 0.015 for at in beeps if at > 0.5)


def test_where_no_sound_comes_it_is_silent_and_the_rest_at_its_time(tmp_path: Path) -> None:
    _, recorder = recorded(tmp_path / "a.mkv", 9, hears=lambda at: not 1002.5 < at < 1005.5)
    beeps, ends = heard(tmp_path / "a.mkv")
    assert [round(at) for at in beeps if at > 0.5] == [1, 2, 6, 7, 8] and abs(ends - 9) < 0.06
    assert all(abs(at - round(at)) < 0.01 for at in beeps if at > 0.5)
    assert [(code, "Beeper gives no sound" in message) for code, message in recorder.warnings] == [("microphone", True)]


def test_sound_that_is_late_finds_its_place_as_long_as_there_is_one(tmp_path: Path) -> None:
    _, recorder = recorded(tmp_path / "a.mkv", 5, late_s=0.7)
    beeps, _ = heard(tmp_path / "a.mkv")
    assert [round(at) for at in beeps if at > 0.5] == [1, 2, 3, 4] and not recorder.warnings
    assert all(abs(at - round(at)) < 0.01 for at in beeps if at > 0.5)
    _, recorder = recorded(tmp_path / "b.mkv", 5, late_s=1.5)
    beeps, ends = heard(tmp_path / "b.mkv")
    assert beeps == [] and abs(ends - 5) < 0.06 and len(recorder.warnings) == 1


def test_a_microphone_that_gives_nothing_costs_no_picture(tmp_path: Path) -> None:
    _, recorder = recorded(tmp_path / "a.mp4", 4, hears=lambda at: False)
    assert len(read(tmp_path / "a.mp4")) == 100 and [code for code, _ in recorder.warnings] == ["microphone"]
    beeps, ends = heard(tmp_path / "a.mp4")
    assert not beeps and abs(ends - 4) < 0.06


def test_a_microphone_that_disappears_is_said_and_the_picture_goes_on(tmp_path: Path) -> None:
    def hears(at: float) -> bool:
        if at > 1001.9:
            raise InputError("the microphone Beeper is gone")
        return True

    _, recorder = recorded(tmp_path / "a.mkv", 4, hears=hears)
    assert list(recorder.warnings) == [
        ("microphone", "the microphone Beeper is gone; the recording goes on without sound")]
    beeps, ends = heard(tmp_path / "a.mkv")
    assert len(read(tmp_path / "a.mkv")) == 100 and [round(at) for at in beeps if at > 0.5] == [1]
    assert abs(ends - 4) < 0.06


def test_a_microphone_that_is_not_there_is_said_and_the_picture_recorded(tmp_path: Path) -> None:
    def listen() -> Mic:
        raise InputError("there is no microphone")

    recorder = Recorder(tmp_path / "a.mkv", listen=listen)
    for frame in frames(5):
        recorder.write(frame)
    recorder.close()
    assert "there is no microphone" in recorder.warnings[0][1] and len(recorder.warnings) == 1
    assert len(read(tmp_path / "a.mkv")) == 5


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_what_breaks_off_plays_with_its_sound(suffix: str, tmp_path: Path) -> None:
    clock = [1000.0]
    recorder = Recorder(tmp_path / f"a{suffix}", listen=lambda: Mic(clock))
    for frame in frames(200):
        assert frame.pts is not None
        clock[0] = float(frame.pts * frame.time_base)
        recorder.write(frame)
    (part,) = tmp_path.iterdir()
    whole = part.read_bytes()
    recorder.close()
    (tmp_path / f"a{suffix}").unlink()
    part.write_bytes(whole)
    beeps, ends = heard(part)
    assert len(read(part)) > 200 - 2 * 1000 // 40 and ends > 6
    assert [round(at) for at in beeps if 0.5 < at < 5.5] == [*range(1, 6)]


def test_another_size_begins_another_file_with_sound(tmp_path: Path) -> None:
    clock = [1000.0]
    mic = Mic(clock)
    recorder = Recorder(tmp_path / "a.mkv", listen=lambda: mic)
    for frame in itertools.chain(frames(75), frames(75, (484, 98), Fraction(1003))):
        assert frame.pts is not None
        clock[0] = float(frame.pts * frame.time_base)
        recorder.write(frame)
    for path in recorder.close():
        beeps, ends = heard(path)
        assert [round(at) for at in beeps if at > 0.5] == [1, 2] and abs(ends - 3) < 0.06
    assert mic.closed and len(recorder.files) == 2


def test_sound_goes_on_while_the_picture_is_lost(tmp_path: Path) -> None:
    """For longer than a device keeps what nobody took: it is asked meanwhile, and the file grows."""
    clock = [1000.0]
    mic = Mic(clock)
    recorder = Recorder(tmp_path / "a.mkv", listen=lambda: mic)
    recorder.hear()  # nothing has begun

    def write(begin_s: int) -> None:
        for frame in frames(50, begin_s=Fraction(begin_s)):
            assert frame.pts is not None
            clock[0] = float(frame.pts * frame.time_base)
            recorder.write(frame)

    write(1000)
    for second in range(1003, 1040):
        clock[0] = second
        recorder.hear()
    (part,) = tmp_path.iterdir()
    assert heard(part)[1] > 20  # a crash would leave that
    write(1040)
    recorder.close()
    beeps, ends = heard(tmp_path / "a.mkv")
    assert [round(at) for at in beeps if at > 0.5] == [*range(1, 42)] and not recorder.warnings
    assert all(abs(at - round(at)) < 0.01 for at in beeps if at > 0.5) and abs(ends - 42) < 0.06
    assert [ms for ms, _ in read(tmp_path / "a.mkv")][49:51] == [49 * 40 + 7, 40_000]


def test_a_recording_hears_while_no_picture_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlets, "_IDLE_S", 0.01)
    heard_at = threading.Event()
    monkeypatch.setattr(Recorder, "hear", lambda self: heard_at.set())
    go = threading.Event()

    def pictures() -> Iterator[np.ndarray | None]:
        while not go.is_set():
            time.sleep(0.01)
            yield yuyv(numbered(1))
        while True:
            time.sleep(0.01)
            yield None

    with opened(capture=lambda number: Cam(pictures(), "YUYV")) as live:
        live.record(tmp_path / "a.mkv")
        next_of(live, lambda shown: live.ready)
        go.set()
        assert heard_at.wait(60) and live.recording


def test_what_is_left_out_of_a_recording_is_said(tmp_path: Path) -> None:
    told, go = list[tuple[str, str]](), threading.Event()

    class Waits(Recorder):
        def write(self, frame: Frame) -> None:
            assert go.wait(60)
            super().write(frame)

    with outlets.Outlets(lambda *message: told.append(message)) as all_:
        recording = outlets.Recording(Waits(tmp_path / "a.mkv"), "sr", lambda *message: told.append(message))
        all_.add(recording)
        for frame in frames(20):
            shown = Shown(frame, Fraction(0), 0, None, Side(Box(0, 0, 480, 96), frame), Choice(), None, None)
            all_.give(shown, "", [recording])
        go.set()
    missing = 20 - len(read(tmp_path / "a.mkv"))
    assert missing >= 7
    assert told == [("left-out", f"the recording lacks {missing} pictures, for which there was no time"),
                    ("recorded", str(tmp_path / "a.mkv"))]


def test_sound_that_is_no_number_costs_no_picture(tmp_path: Path) -> None:
    class Broken(Mic):
        def blocks(self) -> list[Block]:
            return [Block(at, np.where(samples > 0.5, [np.inf], np.nan * samples)) for at, samples in super().blocks()]

    clock = [1000.0]
    recorder = Recorder(tmp_path / "a.mkv", listen=lambda: Broken(clock))
    for frame in frames(50):
        assert frame.pts is not None
        clock[0] = float(frame.pts * frame.time_base)
        recorder.write(frame)
    recorder.close()
    assert len(read(tmp_path / "a.mkv")) == 50 and abs(heard(tmp_path / "a.mkv")[1] - 2) < 0.06


@pytest.mark.parametrize("hangs", ["listen", "close"])
def test_a_microphone_whose_driver_never_answers_keeps_no_recording_waiting(
    hangs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlets, "_PATIENCE_S", 0.05)
    go, hanging, ended = threading.Event(), threading.Event(), threading.Event()

    class Hangs(Mic):
        def __init__(self, name: str, now: Callable[[], float]) -> None:
            super().__init__([now()])

        def wait(self, what: str) -> None:
            if what == hangs:
                hanging.set()
                assert go.wait(60)

        def listen(self) -> None:
            self.wait("listen")

        def close(self) -> None:
            self.wait("close")
            ended.set()

    try:
        with opened("test", microphones=Hangs) as live:
            next_of(live, lambda shown: live.ready)
            live.record(tmp_path / "a.mkv", microphone="beep")
            if hangs == "listen":
                assert hanging.wait(60)
            for _ in range(8):
                next_of(live)
        assert hanging.is_set() and not ended.is_set()
        assert ("recorded", str(tmp_path / "a.mkv")) in live.messages and len(read(tmp_path / "a.mkv")) > 3
    finally:
        go.set()
    assert ended.wait(60)
    until(lambda: not [thread for thread in threading.enumerate() if thread.name == "vsr-beside"])


def test_live_is_recorded_with_the_microphone(tmp_path: Path) -> None:
    mics: list[tuple[str, Mic]] = []

    class Real(Mic):
        """By the clock that is given."""

        def __init__(self, name: str, now: Callable[[], float]) -> None:
            self._now = now
            super().__init__([now()], channels=2)
            mics.append((name, self))

        def blocks(self) -> list[Block]:
            self.clock[0] = self._now()
            return super().blocks()

    with opened("test", microphones=Real) as live:
        live.record(tmp_path / "a.mkv", microphone="beep")
        first = next_of(live, lambda shown: live.ready and mics)
        next_of(live, lambda shown: shown.time > first.time + 2)
        live.stop_recording()
        assert said(live, "recorded")
    assert [name for name, _ in mics] == ["beep"] and mics[0][1].closed
    got, (beeps, ends) = read(tmp_path / "a.mkv"), heard(tmp_path / "a.mkv")
    assert beeps and abs(ends - got[-1][0] / 1000) < 0.06


def test_the_command_says_where_there_is_no_microphone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["live", "--headless", "--source", "test", "--model", "bicubic", "--microphone", "default"]
    assert main(arguments) == 2
    assert "--record" in capsys.readouterr().err
    arguments += ["--record", str(tmp_path / "a.mkv")]
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert main(arguments) == 3
    assert "pip install 'vsr[microphone]'" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "sounddevice", Sounds([]))
    assert main(arguments) == 3
    assert "there is no microphone; none is found" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "sounddevice", Sounds(["Built-in"]))
    assert main([*arguments[:-3], "usb", *arguments[-2:]]) == 3
    assert "there is no microphone 'usb'; there are: Built-in" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


class Sounds:
    """What stands for ``sounddevice``, with microphones of these names."""

    class PortAudioError(Exception):
        pass

    def __init__(self, names: list[str], ways: list[int] | None = None) -> None:
        self.found = [{"name": name, "index": index, "max_input_channels": 4, "default_samplerate": 44100.0,
                       "hostapi": ways[index] if ways else 0} for index, name in enumerate(names)]
        self.found.append({"name": "Speaker", "max_input_channels": 0, "hostapi": 0})
        self.streams: list[Any] = []
        self.default = SimpleNamespace(hostapi=0)

    def query_devices(self, name: str | None = None, kind: str | None = None) -> Any:
        if kind is None:
            return self.found
        assert name is None
        if len(self.found) < 2:
            raise self.PortAudioError("Error querying device -1")
        return self.found[0]

    def InputStream(self, **options: Any) -> Any:
        stream = SimpleNamespace(**options, active=False, closed=False)
        stream.start = lambda: setattr(stream, "active", True)
        stream.close = lambda: setattr(stream, "closed", True)
        self.streams.append(stream)
        return stream


def test_what_portaudio_hears_has_the_times_at_which_it_did(monkeypatch: pytest.MonkeyPatch) -> None:
    sounds = Sounds(["Built-in", "USB Mic"])
    monkeypatch.setitem(sys.modules, "sounddevice", sounds)
    mic = open_microphone("usb", lambda: 50.0)
    assert mic.blocks() == [] and not sounds.streams
    mic.listen()
    (stream,) = sounds.streams
    assert (mic.name, mic.rate, mic.channels) == ("USB Mic", 44100, 2)
    assert (stream.device, stream.samplerate, stream.channels, stream.active) == (1, 44100, 2, True)
    samples = np.full((882, 2), 0.5, np.float32)
    assert mic.blocks() == []
    stream.callback(samples, 882, SimpleNamespace(currentTime=7.5, inputBufferAdcTime=7.25), None)
    stream.callback(samples, 882, SimpleNamespace(currentTime=0, inputBufferAdcTime=0), None)
    samples[:] = 0  # the driver's own
    blocks = mic.blocks()
    assert [block.at for block in blocks] == [49.75, 50 - 0.02] and (blocks[0].samples == 0.5).all()
    stream.active = False
    with pytest.raises(InputError, match="USB Mic gives no sound any more"):
        mic.blocks()
    mic.close()
    assert stream.closed


def test_microphones_are_found_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """PortAudio names each once for every way to it, on some ways not to its end; two may have one name."""
    sounds = Sounds(["Built-in", "Built-in Microphone", "USB Microphone of a maker", "Built-in", "USB Microphone of",
                     "Twin", "Twin"], [1, 1, 1, 0, 0, 0, 0])
    monkeypatch.setitem(sys.modules, "sounddevice", sounds)
    assert microphones() == ["Built-in", "USB Microphone of", "Twin"]
    for name, index in {"built-in": 3, "usb": 4, "USB Microphone of a maker": 2, "Twin": 5, "default": 0}.items():
        assert find_microphone(name)["index"] == index
    sounds.found[0]["name"] = "Built-in too"
    sounds.found[3]["max_input_channels"] = 0
    with pytest.raises(InputError, match="several microphones 'built': Built-in Microphone, Built-in too; give more"):
        find_microphone("built")
    monkeypatch.setitem(sys.modules, "sounddevice", Sounds([]))
    assert microphones() == []
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert microphones() == []


@pytest.mark.parametrize("fails", ["InputStream", "active", "close"])
def test_whatever_portaudio_fails_with_is_the_microphones_end(fails: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sounds = Sounds(["Built-in"])

    def failing(*args: object, **options: object) -> Any:
        raise Sounds.PortAudioError("out of luck")

    class Stream:
        active = property(failing) if fails == "active" else True

        def start(self) -> None:
            pass

        def close(self) -> None:
            if fails == "close":
                failing()

    monkeypatch.setattr(sounds, "InputStream", failing if fails == "InputStream" else lambda **options: Stream())
    monkeypatch.setitem(sys.modules, "sounddevice", sounds)
    mic = open_microphone()
    if fails == "InputStream":
        with pytest.raises(InputError, match="Built-in cannot be opened"):
            mic.listen()
    else:
        mic.listen()
    if fails == "active":
        with pytest.raises(InputError, match="gives no sound any more"):
            mic.blocks()
    mic.close()
