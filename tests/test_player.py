"""Playing, without a screen: exact places, the clock, what is dropped, both sides, sound, and that nothing is left."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import Clip, Nearest
from test_leaks import handles
from test_reel import CLIPS, course

from vsr.engines import open_engine
from vsr.errors import EngineError, InputError, UsageError
from vsr.frame import Frame
from vsr.media.decode import Decoder
from vsr.media.picture import seen_color
from vsr.media.pixels import FULL_RANGE
from vsr.media.reel import Reel
from vsr.models import DEFAULT_MODEL
from vsr.player import Player, Shown, measure_playing
from vsr.player.pictures import Pictures
from vsr.prefetch import Changes
from vsr.quality.protocol import imresize
from vsr.sides import WHOLE, Box, Choice, Side, Sides, View
from vsr.still import difference, on_screen, picture_of

RATE = 25
WAIT_S = 120  # for what must come, on a machine that has much else to do


DRAWING = threading.RLock()


class Time:
    """A wall clock that goes only when it is told to; no frame takes any time of it (`stands_while_drawing`)."""

    def __init__(self) -> None:
        self._now = 100.0

    @property
    def now(self) -> float:
        return self._now

    @now.setter
    def now(self, now: float) -> None:
        with DRAWING:
            self._now = now

    def __call__(self) -> float:
        return self._now


@pytest.fixture(autouse=True)
def stands_while_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a frame that is made while the test sets the clock would seem slow, and the next be dropped for it."""
    draw = Pictures._drawn

    def drawn(*given: Any) -> Shown:
        with DRAWING:
            return draw(*given)

    monkeypatch.setattr(Pictures, "_drawn", drawn)


def playing(path: Path, **options: Any) -> Player:
    return Player(path, **{"engines": Nearest, "now": Time()} | options)


def next_of(player: Player, ticket: int = 0, wanted: Callable[[Shown], object] = lambda shown: True) -> Shown:
    """The next that is shown by that call or a later one, and is as ``wanted``."""
    while True:
        shown = player.take(WAIT_S)
        assert shown is not None, f"nothing comes; {list(player.messages)}"
        if shown.ticket >= ticket and wanted(shown):
            return shown


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def assert_same(planes: tuple[np.ndarray, ...], wanted: tuple[np.ndarray, ...]) -> None:
    assert len(planes) == len(wanted)
    for one, other in zip(planes, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture
def long(clip: Clip) -> Path:
    return clip("a.mp4", pts=range(0, 60 * 512, 512), options={"g": "12", "bf": "3"}, audio=1)


# ---- places --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", CLIPS)
def test_seeking_and_stepping_are_exact(make: Callable[[Clip], Path], clip: Clip) -> None:
    path = make(clip)
    frames = course(path)
    with playing(path, cache_mb=0.02) as player:
        times = [frame.pts * frame.time_base - player.origin for frame in frames]
        first = next_of(player)
        assert first.time == times[0] and first.ticket == 0
        for number in (len(frames) // 2, 3, len(frames) - 1, 0):
            shown = next_of(player, player.seek(times[number]))
            assert shown.time == times[number] == player.position
            assert_same(shown.source.planes, frames[number].planes)
        middle = len(frames) // 2
        player.seek(times[middle] + Fraction(1, 1000))
        for steps in (1, 1, -1, -4, 2):
            middle += steps
            ticket = player.step(steps)
        shown = next_of(player, ticket)
        assert shown.time == times[middle]
        assert_same(shown.source.planes, frames[middle].planes)
        assert next_of(player, player.step(-10_000)).time == times[0]
        assert next_of(player, player.step(10_000)).time == times[-1]


def test_playing_shows_every_frame_of_the_decoder_in_its_order(long: Path) -> None:
    wall = Time()
    frames = course(long)
    with playing(long, now=wall) as player:
        got = [next_of(player)]
        player.play()
        wall.now += 0.001
        for _ in frames[1:]:
            wall.now += 1 / RATE
            got.append(next_of(player))
            assert got[-1].time <= wall.now - 100
        assert [shown.time for shown in got] == [frame.pts * frame.time_base for frame in frames]
        for shown, frame in zip(got, frames, strict=True):
            assert_same(shown.source.planes, frame.planes)
        assert not player.ended and player.playing
        wall.now += 1 / RATE
        until(lambda: player.ended)
        assert not player.playing and player.position == got[-1].time
        assert player.meter().dropped == 0 and player.meter().shown == len(frames)
        player.play()
        assert next_of(player, 1).time == 0 and player.playing
        ticket = player.step()
        assert next_of(player, ticket).time == Fraction(1, RATE) and not player.playing and not player.ended


def test_a_pause_stands_still_and_playing_goes_on_from_there(long: Path) -> None:
    wall = Time()
    with playing(long, now=wall) as player:
        next_of(player)
        player.play()
        wall.now += 0.1
        shown = next_of(player, wanted=lambda shown: shown.time == Fraction(2, RATE))
        player.pause()
        wall.now += 1
        assert player.take(0.3) is None and player.position == shown.time
        player.play()
        wall.now += 0.021
        assert next_of(player).time == Fraction(3, RATE)


@pytest.mark.parametrize("speed", [0.25, 2, 4])
def test_another_speed(speed: float, long: Path) -> None:
    wall = Time()
    with playing(long, now=wall) as player:
        next_of(player)
        player.speed = speed
        player.play()
        wall.now += 0.001
        for number in range(1, 20):
            wall.now += 1 / RATE / speed
            assert next_of(player).time == Fraction(number, RATE)
        assert not player.sound(480).any()
        for wrong in (0, 0.2, 5):
            with pytest.raises(UsageError, match=r"0.25 to 4"):
                player.speed = wrong


def test_what_is_waited_for_is_the_time_on_the_wall(long: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where time goes by waiting alone, nothing is late, at any speed."""
    wall = Time()

    def wait(self: Changes, timeout: float | None = None) -> bool:
        if timeout is None or timeout > 1:  # for a frame, of the one who takes it
            return threading.Condition.wait(self, timeout)
        wall.now += timeout + 1e-6
        return threading.Condition.wait(self, 0)

    monkeypatch.setattr(Changes, "wait", wait)
    for speed in (0.25, 1, 4):
        with playing(long, now=wall) as player:
            next_of(player)
            player.speed = speed
            begun = wall.now
            player.play()
            until(lambda player=player: player.ended)
            assert player.meter().late == 0 and wall.now - begun == pytest.approx(60 / RATE / speed, abs=0.01)


def test_what_was_asked_for_before_is_where_the_next_goes_on_from(long: Path) -> None:
    """Whether or not the frame that was asked for has been decoded meanwhile."""
    opened = threading.Event()

    class Late(Nearest):
        def __init__(self, *args: Any, **options: Any) -> None:
            assert opened.wait(WAIT_S)
            super().__init__(*args, **options)

    with playing(long, engines=Late) as player:  # nothing lands before it is opened
        player.seek(1)
        player.step(3)
        player.set_loop((0.5, 2))
        assert player.step(-1) == 4
        opened.set()
        assert next_of(player, 4).time == Fraction(27, RATE)
    opened.clear()
    with playing(long, engines=Late) as player:
        player.set_loop((0.5, 1))
        player.seek(2)
        player.play()  # which is to be within the loop
        opened.set()
        assert next_of(player, 3).time == Fraction(12, RATE)


def test_a_loop_goes_round(long: Path) -> None:
    wall = Time()
    with playing(long, now=wall) as player:
        next_of(player)
        player.set_loop((Fraction(10, RATE), Fraction(14, RATE)))
        assert next_of(player, 1).time == Fraction(10, RATE)
        player.play()
        wall.now += 0.001
        got = []
        for _ in range(9):
            wall.now += 1 / RATE
            got.append(int(next_of(player, 1).time * RATE))
        assert got == [11, 12, 13, 10, 11, 12, 13, 10, 11]
        player.pause()
        player.seek(1)
        assert next_of(player, 2).time == 1  # it may be looked at what lies outside, but not played
        player.play()
        assert next_of(player, 3).time == Fraction(10, RATE)
        assert next_of(player, player.seek(2)).time == Fraction(10, RATE)
        player.set_loop(None)
        wall.now += 1 / RATE
        assert next_of(player, wanted=lambda shown: shown.time == Fraction(14, RATE) or not step(wall))
        for wrong in ((1, 1), (2, 1), (-1, 1)):
            with pytest.raises(UsageError, match="empty"):
                player.set_loop(wrong)


def step(wall: Time) -> bool:
    wall.now += 1 / RATE
    return True


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le", "gray"])
def test_what_is_painted_is_what_a_picture_of_it_would_show(pix_fmt: str, clip: Clip) -> None:
    codec = "ffv1" if pix_fmt == "gray" else "libx264"
    path = clip("a.mkv", pix_fmt=pix_fmt, codec=codec, color=(1, 5, 2, 2))

    def paint(shown: Shown) -> np.ndarray:
        assert shown.sr is not None
        return on_screen(shown.sr.frame)

    with playing(path, paint=paint) as player:
        shown = next_of(player, wanted=lambda shown: shown.sr)
        assert shown.sr is not None and shown.painted.dtype == np.uint8
        wanted = picture_of(shown.sr.frame).pixels
        if wanted.dtype == np.uint16:
            wanted = cv2.convertScaleAbs(wanted, alpha=1 / 257)
        if wanted.ndim == 2:
            wanted = np.dstack([wanted] * 3)
        np.testing.assert_array_equal(shown.painted[..., :3], wanted)
        assert (shown.painted[..., 3] == 255).all()
        small = on_screen(shown.sr.frame, 3)
        means = wanted[: wanted.shape[0] // 2 * 2].reshape(-1, 2, wanted.shape[1] // 2, 2, 3).mean((1, 3))
        assert small.shape == (wanted.shape[0] // 3, wanted.shape[1] // 3, 4)
        assert np.abs(on_screen(shown.sr.frame, 2)[..., :3] - means).max() <= 1


def test_a_picture_is_painted_anew_at_a_pause(long: Path) -> None:
    counted: list[int] = []
    with playing(long, paint=lambda shown: counted.append(1) or len(counted)) as player:
        first = next_of(player)
        player.redraw()
        assert next_of(player, wanted=lambda shown: shown.painted > first.painted).time == first.time


def test_a_difference_is_that_of_luma_made_larger() -> None:
    one, other = (Frame((np.full((4, 6), code, np.uint16),), 10, None, Fraction(1, 25)) for code in (500, 490))
    apart = difference(one, other)
    assert (apart.luma == 80).all() and apart.color.range == FULL_RANGE
    assert (on_screen(apart)[..., 0] == round(80 * 255 / 1023)).all()
    assert (difference(one, other, 200).luma == 1023).all()


# ---- what is late --------------------------------------------------------------------------------------------------


def slow(wall: Time, seconds: float) -> type[Nearest]:
    class Slow(Nearest):
        """Takes its time on the player's clock; ``made`` counts what it enlarged."""

        made = 0

        def _run(self, luma: np.ndarray, out: np.ndarray) -> None:
            Slow.made += 1
            super()._run(luma, out)
            wall.now += seconds

    return Slow


def test_a_slow_engine_costs_frames_and_not_the_pace(long: Path) -> None:
    """An engine that takes the time of five frames makes a fifth of them; what it makes is shown when it is due."""
    wall = Time()
    engine = slow(wall, 5 / RATE)
    with playing(long, now=wall, engines=engine) as player:
        got = [next_of(player)]
        begun = wall.now
        player.play()
        while not player.ended:
            shown = player.take(0.02)
            if shown is None:
                wall.now += 0.001  # until what waits is due
            else:
                got.append(shown)
        numbers = [int(shown.time * RATE) for shown in got]
        assert numbers == sorted(set(numbers)) and len(got) + player.meter().missed == engine.made <= 16
        late = player.meter().late
        assert late + engine.made == 60 and late >= 44
        assert wall.now - begun < 60 / RATE + 2 * 5 / RATE  # it kept pace with its clock


def test_what_the_screen_does_not_take_is_counted(long: Path) -> None:
    wall = Time()
    with playing(long, now=wall) as player:
        next_of(player)
        player.play()
        wall.now += 0.001
        for number in range(1, 6):
            wall.now += 1 / RATE
            until(lambda number=number: player.position == Fraction(number, RATE))
        shown = next_of(player, wanted=lambda shown: shown.time == Fraction(5, RATE))
        assert shown.time == player.position and player.meter().dropped == player.meter().missed >= 3


def test_far_behind_it_goes_on_further_ahead(long: Path) -> None:
    wall = Time()
    with playing(long, now=wall) as player:
        next_of(player)
        player.play()
        wall.now += 2.2
        assert next_of(player, wanted=lambda shown: shown.time >= 2).time <= Fraction(11, 5)
        assert player.meter().late >= 40


def test_playing_is_measured(long: Path) -> None:
    pytest.importorskip("halide", reason="the CPU engine needs halide, which has no wheel for this machine")
    seconds = 0.5
    while (played := measure_playing(long, Choice("bicubic"), seconds)).meter.shown < 3 and seconds < 60:
        seconds *= 2  # the machine has too much to do
    assert played.meter.shown > 2 and played.shown_fps > 0 and played.longest_stall_s > 0
    assert played.to_json()["video_fps"] == RATE and played.precision == "fp32"


# ---- both sides ----------------------------------------------------------------------------------------------------

KINDS = [("yuv420p", 1), ("yuv422p", 1), ("yuv444p", 0), ("gray", 0), ("yuv420p10le", 1)]


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("pix_fmt", "location"), KINDS)
@pytest.mark.parametrize("model", ["fsrcnn-s", "bicubic"])
def test_a_part_is_the_same_as_the_whole(model: str, pix_fmt: str, location: int, scale: int, clip: Clip) -> None:
    """Whatever is cut out: of odd sizes, at odd places, at the rim and inside, of one pixel."""
    pytest.importorskip("halide", reason="the CPU engine needs halide, which has no wheel for this machine")
    path = clip("a.mkv", size=(90, 66), codec="ffv1", pix_fmt=pix_fmt, time_base=Fraction(1, 25), pts=range(1))
    with Decoder(path) as source:
        layout, info = source.layout, source.info
        frame = next(item for item in source if isinstance(item, Frame))
    frame = cropped(frame, 85, 63)
    random = np.random.default_rng(scale)
    boxes = [(0, 0, 1, 1), (84, 62, 85, 63), (31, 17, 32, 18), (-9, 3, 40, 900), (13, 0, 14, 63)]
    for _ in range(8):
        x, y = np.sort(random.integers(0, 86, 2)), np.sort(random.integers(0, 64, 2))
        boxes.append((x[0], y[0], x[1] + 1, y[1] + 1))
    with Sides(Choice(model, scale, "cpu"), layout, info.color.range == FULL_RANGE, location) as sides:
        for make in (sides.bicubic, sides.sr):
            whole = make(frame)
            assert whole is not None and whole.box == (0, 0, 85, 63)
            assert whole.frame.luma.shape == (63 * scale, 85 * scale)
            for box in boxes:
                side = make(frame, Box(*box))
                assert side is not None
                left, top, right, bottom = Box(*box).within(whole.box)
                assert side.box.left <= left < left + 1 <= right <= side.box.right
                assert side.box.top <= top and bottom <= side.box.bottom
                assert_same(side.frame.planes, tuple(part_of(whole, side, scale)))
        assert sides.sr(frame, Box(90, 0, 99, 9)) is None and sides.bicubic(frame, Box(5, 5, 5, 9)) is None


def cropped(frame: Frame, width: int, height: int) -> Frame:
    planes = []
    for plane in frame.planes:
        x, y = round(frame.width / plane.shape[1]), round(frame.height / plane.shape[0])
        planes.append(plane[: -(-height // y), : -(-width // x)])
    return Frame(tuple(planes), frame.bits, frame.pts, frame.time_base, color=frame.color)


def part_of(whole: Side, side: Side, n: int) -> Iterator[np.ndarray]:
    for plane in whole.frame.planes:
        x = round(whole.frame.width / plane.shape[1])
        y = round(whole.frame.height / plane.shape[0])
        box = side.box
        yield plane[n * box.top // y : -(-n * box.bottom // y), n * box.left // x : -(-n * box.right // x)]


def test_only_what_is_looked_at_is_enlarged(clip: Clip) -> None:
    sizes: list[tuple[int, ...]] = []

    class Looking(Nearest):
        def _run(self, luma: np.ndarray, out: np.ndarray) -> None:
            sizes.append(luma.shape)
            super()._run(luma, out)

    path = clip("a.mp4", size=(160, 96))
    with playing(path, engines=Looking, view=View.split(WHOLE, 120)) as player:
        shown = next_of(player)
        assert shown.bicubic and shown.sr
        assert shown.bicubic.box == (0, 0, 120, 96) and shown.sr.box == (120, 0, 160, 96)
        assert sizes[-1][0] == 96 and 40 < sizes[-1][1] < 60
        player.view = View(sr=None)
        shown = next_of(player, wanted=lambda shown: shown.sr is None)
        assert shown.bicubic and shown.bicubic.box == (0, 0, 160, 96) and len(sizes) == 1
        player.view = View.split(Box(40, 20, 80, 60), 10)
        shown = next_of(player, wanted=lambda shown: shown.sr)
        assert shown.bicubic is None and shown.sr and shown.sr.box == (40, 20, 80, 60)


def test_the_model_changes_while_it_plays(long: Path) -> None:
    wall, go = Time(), threading.Event()
    closed = []

    class Opened(Nearest):
        def __init__(self, model: str, scale: int, **options: Any) -> None:
            if scale == 3:
                assert go.wait(WAIT_S)
            super().__init__(model, scale, **options)

        def close(self) -> None:
            closed.append(self.scale)

    with playing(long, now=wall, engines=Opened) as player:
        next_of(player)
        player.play()
        wall.now += 0.001
        player.choice = Choice(scale=3)
        for number in range(1, 10):  # it goes on meanwhile
            wall.now += 1 / RATE
            shown = next_of(player)
            assert shown.choice.scale == 2 and shown.time == Fraction(number, RATE)
        go.set()
        until(lambda: closed == [2])
        player.pause()
        shown = next_of(player, wanted=lambda shown: shown.choice.scale == 3)
        assert shown.sr and shown.bicubic and shown.time == Fraction(9, RATE)
        assert shown.sr.frame.luma.shape == shown.bicubic.frame.luma.shape == (96, 144)
        for wrong in (Choice("none"), Choice(scale=5)):
            with pytest.raises(UsageError):
                player.choice = wrong
    assert closed == [2, 3]


def test_an_engine_that_fails_leaves_the_other_side(long: Path) -> None:
    class Broken(Nearest):
        def _run(self, luma: np.ndarray, out: np.ndarray) -> None:
            raise EngineError("out of luck")

    def unopenable(*args: object, **options: object) -> Nearest:
        raise EngineError("no such luck")

    for engines, said in ((Broken, "out of luck"), (unopenable, "no such luck")):
        with playing(long, engines=engines) as player:
            shown = next_of(player)
            assert shown.bicubic and shown.sr is None and shown.engine is None
            assert list(player.messages) == [("engine", said)]
            assert next_of(player, player.step()).bicubic


def test_what_should_not_happen_is_raised(long: Path) -> None:
    class Buggy(Nearest):
        def _run(self, luma: np.ndarray, out: np.ndarray) -> None:
            raise ZeroDivisionError

    with playing(long, engines=Buggy) as player, pytest.raises(ZeroDivisionError):
        player.take(WAIT_S)


# ---- compared with the truth ---------------------------------------------------------------------------------------


def test_what_is_shrunk_and_restored_is_scored(clip: Clip) -> None:
    path = clip("a.mp4", size=(162, 98), options={"crf": "10"})
    with playing(path, restore=True, choice=Choice("fsrcnn-s", 2, "cpu"), engines=open_engine) as player:
        shown = next_of(player)
        assert shown.source.luma.shape == (49, 81) and shown.sr and shown.sr.frame.luma.shape == (98, 162)
        truth = course(path)[0]
        exact = imresize(truth.luma, 1 / 2)
        assert np.abs(shown.source.luma - exact)[2:-2, 2:-2].max() <= 0.51
        scores = shown.scores
        assert scores and scores.sr and scores.box == (0, 0, 81, 49)
        inner = np.s_[2:-2, 2:-2]
        error = (shown.sr.frame.luma[inner].astype(float) - truth.luma[inner]) ** 2
        assert scores.sr.psnr == pytest.approx(10 * np.log10(255**2 / error.mean()))
        assert 10 < scores.bicubic.psnr != scores.sr.psnr
        player.restore = False
        assert next_of(player, wanted=lambda shown: shown.source.width == 162).scores is None


def test_at_the_end_and_at_a_pause_all_that_is_seen_is_scored(clip: Clip) -> None:
    path, wall = clip("a.mp4", size=(320, 304), pts=range(0, 20 * 512, 512)), Time()
    with playing(path, restore=True, now=wall) as player:
        whole = Box(0, 0, 160, 152)
        assert next_of(player).scores.box == whole
        player.play()
        wall.now += 2
        assert next_of(player, wanted=lambda shown: shown.scores).scores.box in (Box(16, 12, 144, 140), whole)
        until(lambda: player.ended)
        last = next_of(player, wanted=lambda shown: shown.scores and shown.scores.box == whole)
        assert last.time == Fraction(19, RATE)


def test_a_reference_is_compared_with(clip: Clip) -> None:
    small, large = clip("a.mp4", pts=range(0, 20 * 512, 512)), clip("b.mp4", size=(96, 64), pts=range(0, 20 * 512, 512))
    with playing(small, reference=large) as player:
        shown = next_of(player, player.seek(Fraction(10, RATE)))
        assert shown.scores and shown.scores.sr and shown.bicubic
        truth = course(large)[10].luma[2:-2, 2:-2]
        error = (shown.bicubic.frame.luma[2:-2, 2:-2].astype(float) - truth) ** 2
        assert shown.scores.bicubic.psnr == pytest.approx(10 * np.log10(255**2 / error.mean()))
    with playing(small, reference=large, choice=Choice(scale=3)) as player:
        assert next_of(player).scores is None
        assert next_of(player, player.step()).scores is None
        said = [("reference", "a reference of 96x64 is not 3 times as large as the video")]
        assert list(player.messages) == said
        player.choice = Choice(scale=2)
        assert next_of(player, wanted=lambda shown: shown.choice.scale == 2).scores
    with pytest.raises(UsageError, match="not both"):
        playing(small, reference=large, restore=True)


# ---- compared with what was made of it -----------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_result_stands_in_the_model_s_place(scale: int, clip: Clip, tmp_path: Path) -> None:
    source = clip("a.mp4", pts=range(0, 20 * 512, 512))
    # Its container counts in milliseconds, it is of another coding, and no engine makes its pixels
    made = clip("b.mkv", size=(48 * scale, 32 * scale), pts=range(0, 800, 40), time_base=Fraction(1, 1000))
    opened: list[str] = []

    class Looking(Nearest):
        def __init__(self, model: str, *args: Any, **options: Any) -> None:
            opened.append(model)
            super().__init__(model, *args, **options)

    frames, results = course(source), course(made)
    with playing(source, result=made, engines=Looking) as player:
        assert player.choice == Choice("bicubic", scale)
        for number in (0, 7, 19, 3):
            shown = next_of(player, player.seek(Fraction(number, RATE)), lambda shown: shown.sr)
            assert shown.sr and shown.bicubic and shown.choice.scale == scale and shown.sr.box == (0, 0, 48, 32)
            assert_same(shown.source.planes, frames[number].planes)
            assert_same(shown.sr.frame.planes, results[number].planes)
        player.view = View.split(WHOLE, 20)
        shown = next_of(player, wanted=lambda shown: shown.bicubic and shown.bicubic.box == (0, 0, 20, 32))
        assert shown.sr and shown.sr.box == (20, 0, 48, 32)
        np.testing.assert_array_equal(shown.sr.frame.luma, results[3].luma[:, 20 * scale :])
        with Sides(player.choice, player.layout, False, shown.source.color.chroma_location, None) as sides:
            wanted = sides.bicubic(shown.source, shown.bicubic.box) if shown.bicubic else None
        assert wanted and shown.bicubic
        assert_same(shown.bicubic.frame.planes, wanted.frame.planes)
        player.save_frame(tmp_path / "still.png")
        until(lambda: len(player.messages) == 3)
        paths = [tmp_path / f"still-{of}.png" for of in ("bicubic", "result", "compared")]
        assert list(player.messages) == [("saved", str(path)) for path in paths]
        color = seen_color(results[3].color, 48 * scale, 32 * scale)
        np.testing.assert_array_equal(cv2.imread(str(paths[1])),
                                      picture_of(replace(results[3], color=color)).pixels)
    assert set(opened) <= {"bicubic"}  # nothing is computed that is in the file


@pytest.mark.parametrize(
    ("size", "pix_fmt", "said"),
    [((48, 32), "yuv420p", "48x32"), ((240, 160), "yuv420p", "240x160"), ((96, 66), "yuv420p", "96x66"),
     ((96, 64), "yuv444p", "96x64, yuv444p")],
)
def test_what_cannot_be_a_result_is_told(size: tuple[int, int], pix_fmt: str, said: str, clip: Clip) -> None:
    source, other = clip("a.mp4"), clip("b.mkv", size=size, pix_fmt=pix_fmt)
    with pytest.raises(InputError, match=rf"b.mkv \({said}.*not 2, 3 or 4 times its source \(48x32, yuv420p\)"):
        playing(source, result=other)


def test_a_result_that_is_none_or_not_alone_is_refused(clip: Clip, tmp_path: Path) -> None:
    source, made = clip("a.mp4"), clip("b.mp4", size=(96, 64))
    with pytest.raises(InputError, match=r"none\.mp4"):
        playing(source, result=tmp_path / "none.mp4")
    for more in ({"restore": True}, {"reference": made}):
        with pytest.raises(UsageError, match="bicubic alone"):
            playing(source, result=made, **more)


def test_a_result_that_is_shorter_ends_with_its_last_frame(clip: Clip) -> None:
    source, made = clip("a.mp4", pts=range(0, 20 * 512, 512)), clip("b.mp4", size=(96, 64), pts=range(0, 5 * 512, 512))
    last = course(made)[-1]
    with playing(source, result=made) as player:
        shown = next_of(player, player.seek(Fraction(10, RATE)))
        assert shown.sr
        np.testing.assert_array_equal(shown.sr.frame.luma, last.luma)


# ---- before the engine is open -------------------------------------------------------------------------------------


class Late(Nearest):
    """Cannot be opened before ``go`` is set."""

    go = threading.Event()

    def __init__(self, *args: Any, **options: Any) -> None:
        assert self.go.wait(WAIT_S)
        super().__init__(*args, **options)


@pytest.fixture
def late() -> Iterator[type[Late]]:
    Late.go.clear()
    yield Late
    Late.go.set()


def test_there_are_pictures_before_the_engine_is_open(long: Path, late: type[Late], tmp_path: Path) -> None:
    frames = course(long)
    with playing(long, engines=late, early=True) as player:
        for number in (0, 30, 4):
            shown = next_of(player, player.seek(Fraction(number, RATE)))
            assert shown.is_early and shown.engine is None and shown.bicubic and shown.sr
            assert_same(shown.source.planes, frames[number].planes)
            assert_same(shown.sr.frame.planes, shown.bicubic.frame.planes)
        player.save_frame(tmp_path / "still.png")  # which waits for the engine
        assert player.take(0.3) is None and not player.messages
        late.go.set()
        shown = next_of(player, wanted=lambda shown: not shown.is_early)
        assert shown.engine == "nearest" and shown.time == Fraction(4, RATE) and shown.bicubic and shown.sr
        np.testing.assert_array_equal(shown.sr.frame.luma, np.repeat(np.repeat(frames[4].luma, 2, 0), 2, 1))
        assert (shown.sr.frame.luma != shown.bicubic.frame.luma).any()
        until(lambda: len(player.messages) == 3)
        assert str(tmp_path / f"still-{DEFAULT_MODEL}.png") in dict(map(reversed, player.messages))  # type: ignore[call-overload]
        assert not next_of(player, player.step()).is_early
        player.choice = Choice(scale=3)  # the next is opened beside the first, which goes on
        assert not next_of(player, wanted=lambda shown: shown.choice.scale == 3).is_early


def test_it_plays_before_the_engine_is_open(long: Path, late: type[Late]) -> None:
    wall = Time()
    with playing(long, engines=late, early=True, now=wall) as player:
        next_of(player)
        player.play()
        wall.now += 0.001
        for number in range(1, 6):
            wall.now += 1 / RATE
            shown = next_of(player)
            assert shown.is_early and shown.time == Fraction(number, RATE)
        late.go.set()  # closing waits for it


def test_without_early_nothing_is_shown_before(long: Path, late: type[Late]) -> None:
    with playing(long, engines=late) as player:
        assert player.take(0.3) is None
        late.go.set()
        assert not next_of(player).is_early


def test_an_engine_that_never_opens_leaves_bicubic(long: Path) -> None:
    def unopenable(*args: object, **options: object) -> Nearest:
        raise EngineError("no such luck")

    with playing(long, engines=unopenable, early=True) as player:
        shown = next_of(player, wanted=lambda shown: not shown.is_early)
        assert shown.bicubic and shown.sr is None and shown.engine is None
        assert list(player.messages) == [("engine", "no such luck")]


# ---- sound ---------------------------------------------------------------------------------------------------------


def test_the_picture_follows_the_sound_that_is_heard(clip: Clip) -> None:
    path = clip("a.mov", pts=range(0, 50 * 512, 512), audio=1, audio_codec="pcm_s16le")
    wall = Time()
    tone = np.sin(np.arange(96000) * 0.05)
    with playing(path, now=wall) as player:
        assert player.has_sound
        next_of(player)
        assert not player.sound(480).any()  # it does not play
        player.play()
        heard = []
        for number in range(50):  # a device that is 1 % slow, with 20 ms in its buffer
            heard.append(player.sound(960, 0.02)[:, 0])
            wall.now += 0.02 * 1.01
            if number % 2:
                due = (number + 1) // 2 * Fraction(1, RATE) - Fraction(1, RATE)
                assert next_of(player, wanted=lambda shown, due=due: shown.time >= due).time <= due + Fraction(1, RATE)
        first = 960  # what the buffer held when it began is not made up for: it would be heard late
        np.testing.assert_allclose(np.concatenate(heard), tone[first : first + 48000], atol=1e-3)
        ticket = player.seek(Fraction(1, 2))
        until(lambda: player.position == Fraction(12, RATE))
        next_of(player, ticket)
        got = player.sound(960)[:, 0]
        begin = round(Fraction(12, RATE) * 48000)
        np.testing.assert_allclose(got, tone[begin : begin + 960], atol=1e-3)


def test_a_loop_is_heard_without_a_seam(clip: Clip) -> None:
    path = clip("a.mov", pts=range(0, 50 * 512, 512), audio=1, audio_codec="pcm_s16le")
    tone = np.sin(np.arange(96000) * 0.05)
    with playing(path) as player:
        player.set_loop((Fraction(1, 5), Fraction(2, 5)))
        next_of(player, 1)
        player.play()
        got = np.concatenate([player.sound(1000)[:, 0] for _ in range(24)])
        wanted = np.tile(tone[9600:19200], 3)
        np.testing.assert_allclose(got, wanted[:24000], atol=1e-3)


# ---- files that break, what is written, what is left ---------------------------------------------------------------


def test_a_file_that_breaks_midway_is_told_and_plays_as_far_as_it_goes(clip: Clip) -> None:
    path = clip("a.mkv", pts=range(0, 2400, 40), time_base=Fraction(1, 1000), codec="ffv1")
    wall = Time()
    with playing(path, now=wall, cache_mb=0) as player:
        next_of(player)
        path.unlink()
        path.write_bytes(b"")
        player.play()
        while not player.ended:
            if player.take(0.02) is None:  # no faster than it can be read
                wall.now += 0.01
        assert player.position == Fraction(59, RATE)
    with pytest.raises(InputError):
        playing(path)


def test_a_place_that_cannot_be_read_is_an_end(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to go on with; playing begins anew."""

    def unreadable(reel: Reel, time: Fraction) -> Frame:
        if time == 1:
            raise InputError("gone")
        return at(reel, time)

    at = Reel.at
    monkeypatch.setattr(Reel, "at", unreadable)
    for plays in (False, True):
        with playing(clip("a.mp4", pts=range(0, 60 * 512, 512))) as player:
            first = next_of(player)
            if plays:
                player.play()
            player.seek(1)
            until(lambda player=player: player.ended)
            assert not player.playing and list(player.messages) == [("broken", "gone")]
            player.play()
            again = next_of(player, 2)
            assert again.time == 0 and again.source.luma.tobytes() == first.source.luma.tobytes()


@pytest.mark.parametrize("rotation", [0, 90])
def test_frames_are_saved_as_they_are_seen(rotation: int, clip: Clip, tmp_path: Path) -> None:
    path = clip("a.mov", pts=range(0, 20 * 512, 512), size=(160, 96), rotation=rotation)
    with playing(path) as player:
        shown = next_of(player, player.seek(Fraction(10, RATE)))
        for target in (tmp_path / "still.png", tmp_path):
            player.save_frame(target)
        until(lambda: len(player.messages) == 6)
        paths = [tmp_path / f"{name}-{of}.png" for name in ("still", "a-0.400s")
                 for of in ("bicubic", DEFAULT_MODEL, "compared")]  # fmt: skip
        assert list(player.messages) == [("saved", str(path)) for path in paths]
        assert shown.sr and shown.bicubic
        color = seen_color(shown.source.color, 160, 96)
        for start in (0, 3):
            for path, side in zip(paths[start:], (shown.bicubic, shown.sr), strict=False):
                wanted = picture_of(replace(side.frame, color=color), {0: 1, 90: 8}[rotation]).pixels
                np.testing.assert_array_equal(cv2.imread(str(path)), wanted)
        height, width = cv2.imread(str(paths[0])).shape[:2]
        assert cv2.imread(str(paths[2])).shape[:2] == (height, 2 * width)
        player.messages.clear()
        player.save_frame(tmp_path / "still.png")
        until(lambda: player.messages)
        assert player.messages[0][0] == "save" and "exists" in player.messages[0][1]


def opened_and_closed(path: Path) -> None:
    with playing(path):
        pass


def closed_while_it_plays(path: Path) -> None:
    with playing(path, now=time.monotonic) as player:
        next_of(player)
        player.play()
        player.sound(960)
        next_of(player)


def closed_while_it_seeks(path: Path) -> None:
    with playing(path) as player:
        for number in range(50):
            player.seek(Fraction(number % 7, 3))
            player.choice = Choice(scale=2 + number % 3)


def left_by_an_error(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), playing(path) as player:
        next_of(player)
        raise ZeroDivisionError


@pytest.mark.parametrize("way", [opened_and_closed, closed_while_it_plays, closed_while_it_seeks, left_by_an_error])
def test_no_thread_and_no_handle_is_left(way: Callable[[Path], None], long: Path) -> None:
    opened_and_closed(long)  # what is loaded on first use stays
    gc.collect()
    before, threads = handles(), threading.active_count()
    way(long)
    gc.collect()
    assert handles() == before and threading.active_count() == threads
