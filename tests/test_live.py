"""Live: the newest frame wins, latency does not grow, what is lost comes back, and nothing is left over."""

from __future__ import annotations

import argparse
import contextlib
import gc
import http.server
import itertools
import json
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import Clip, Nearest
from test_camera import (
    Cam,
    free_port,
    motion_jpeg,
    numbered,
    read_number,
    rtsp,
    sent,
    served,
    transport,
    yuyv,
)
from test_leaks import HANDLES, handles

from vsr import cli
from vsr import live as live_module
from vsr.cli import main
from vsr.engines import Engine, open_engine
from vsr.engines.bicubic import Bicubic
from vsr.errors import EngineError, InputError, UsageError
from vsr.frame import Frame
from vsr.live import Live, governor
from vsr.live.governor import Governor, Rung, ladder
from vsr.live.ladder import Step, enlarged
from vsr.media import camera
from vsr.media.camera import Asked
from vsr.media.pixels import layout_of
from vsr.models import DEFAULT_MODEL, catalogue
from vsr.models.catalogue import random_weights, save_file
from vsr.models.networks import Network
from vsr.player import Shown
from vsr.sides import WHOLE, Box, Choice, Sides, View

SR = View(None, WHOLE)
SOAK_S = float(os.environ.get("VSR_SOAK_S", "4"))


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No machine is so slow that its sources are taken for lost or stalled; what is lost is tried again at once."""
    monkeypatch.setattr(camera, "_SILENT_S", 60)
    monkeypatch.setattr(live_module, "_STALLED_S", 60)
    monkeypatch.setattr(live_module, "_FIRST_PAUSE_S", 0.02)


def paced(rate: float, times: dict[int, float], count: int = 1 << 30, size: tuple[int, int] = (480, 96),
          begin: int = 0) -> Iterator[np.ndarray]:
    """Numbered pictures of a camera of that rate; ``times`` is filled with when each was there."""
    start = time.monotonic()
    for number in range(begin, begin + count):
        time.sleep(max(0.0, start + (number - begin) / rate - time.monotonic()))
        times[number] = time.monotonic()
        yield yuyv(numbered(number, size))


def still() -> Iterator[np.ndarray]:
    while True:
        time.sleep(0.01)
        yield yuyv(numbered(3))


def opened(source: str = "0", **options: Any) -> Live:
    return Live(source, **{"engines": Nearest, "view": SR, "pinned": True} | options)


def next_of(live: Live, wanted: Callable[[Shown], object] = lambda shown: True, seconds: float = 60) -> Shown:
    """The next that is as ``wanted``."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        shown = live.take(1)
        if shown is not None and wanted(shown):
            return shown
    raise AssertionError(f"nothing comes; {list(live.messages)}")


def until(holds: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def number_of(shown: Shown) -> int:
    assert shown.sr is not None
    return read_number(shown.sr.frame.luma, shown.choice.scale)


def said(live: Live, code: str, seconds: float = 60) -> str:
    """The first message of that code, which is waited for."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        live.take(0.05)
        for each, message in list(live.messages):
            if each == code:
                return message
    raise AssertionError(f"nothing is said of {code}; {list(live.messages)}")


# ---- newest wins ---------------------------------------------------------------------------------------------------


def test_what_is_shown_is_what_came(nearest: type[Nearest]) -> None:
    cam = Cam(still(), "YUYV")
    with opened(capture=lambda number: cam) as live:
        shown = next_of(live, lambda shown: live.ready)
        assert shown.source.luma.shape == (96, 480) and shown.sr is not None and shown.bicubic is None
        np.testing.assert_array_equal(shown.sr.frame.luma, np.repeat(np.repeat(numbered(3), 2, 0), 2, 1))
        assert shown.sr.frame.planes[1].shape == (192, 480) and (shown.sr.frame.planes[2] == 150).all()
    assert cam.released


class Held(Nearest):
    """Enlarges each picture only when it is let."""

    begun, let = threading.Semaphore(0), threading.Semaphore(0)

    def __init__(self, model: str, scale: int, **kwargs: Any) -> None:
        super().__init__(model, scale, **kwargs)
        self.held = model != "bicubic"

    def _run(self, luma: np.ndarray, out: np.ndarray) -> None:
        if self.held:
            self.begun.release()
            assert self.let.acquire(timeout=60)
        super()._run(luma, out)


def test_an_engine_that_is_slower_than_the_source_gets_the_newest_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many pictures come while one is enlarged, the next to be enlarged is the last that came, and all others
    are counted as dropped: nothing queues, so that latency cannot grow."""
    monkeypatch.setattr(Held, "begun", threading.Semaphore(0))
    monkeypatch.setattr(Held, "let", threading.Semaphore(0))
    go, came = threading.Semaphore(0), threading.Semaphore(0)
    lives: list[Live] = []

    def pictures() -> Iterator[np.ndarray | None]:
        while not (lives and lives[0].ready):
            time.sleep(0.01)
            yield yuyv(numbered(0))
        number = 0
        while True:
            if go.acquire(timeout=0.01):
                for _ in range(10):
                    number += 1
                    yield yuyv(numbered(number))
                came.release()
            else:
                yield None

    with opened(capture=lambda number: Cam(pictures(), "YUYV"), engines=Held) as live:
        lives.append(live)
        try:
            assert Held.begun.acquire(timeout=60)
            numbers = []
            for _ in range(5):
                go.release()
                assert came.acquire(timeout=60)
                Held.let.release()
                assert Held.begun.acquire(timeout=60)
                numbers.append(number_of(next_of(live)))
        finally:
            Held.let.release(1000)
        assert numbers == [0, 10, 20, 30, 40] and number_of(next_of(live)) == 50
        assert live.meter().dropped >= 5 * 9


def test_what_is_shown_is_no_older_than_two_periods_of_the_engine() -> None:
    """60 pictures a second for an engine that makes ten; ``VSR_SOAK_S`` is how long. Its periods are as they are on the
    machine, and so is how old pictures are at the end of that time."""
    times: dict[int, float] = {}

    class Slow(Nearest):
        def _run(self, luma: np.ndarray, out: np.ndarray) -> None:
            time.sleep(0 if self.model == "bicubic" else 0.1)
            super()._run(luma, out)

    with opened(capture=lambda number: Cam(paced(60, times), "YUYV"), engines=Slow) as live:
        next_of(live, lambda shown: live.ready)
        ages, at = list[float](), [time.monotonic()]
        while at[-1] < at[0] + SOAK_S or len(ages) < 24:
            number = number_of(next_of(live))
            at.append(time.monotonic())
            ages.append(at[-1] - times[number])
    period = statistics.median(later - earlier for earlier, later in itertools.pairwise(at))
    assert statistics.median(ages[-len(ages) // 3 :]) < 2 * period


def test_a_screen_that_does_not_take_gets_the_newest() -> None:
    lives: list[Live] = []
    made: list[int] = []

    def pictures() -> Iterator[np.ndarray | None]:
        while not (lives and lives[0].ready):
            time.sleep(0.01)
            yield yuyv(numbered(0))
        for number in range(1, 31):
            yield yuyv(numbered(number))
            until(lambda number=number: number in made)
        while True:
            time.sleep(0.01)
            yield None

    def paint(shown: Shown) -> None:
        made.append(number_of(shown))

    with opened(capture=lambda number: Cam(pictures(), "YUYV"), paint=paint) as live:
        lives.append(live)
        until(lambda: 30 in made)
        until(lambda: live.meter().dropped >= 29)  # the last takes its place behind `paint`
        assert number_of(next_of(live)) == 30 and set(made) == {*range(31)}


def test_a_stream_from_the_network_is_as_fresh_as_its_frames_are_far_apart() -> None:
    """A camera that waits with each picture until the one before the last is seen: nothing is held back on the way but
    what ends a picture, the next one's beginning."""
    seen = [0]

    def respond(handler: http.server.BaseHTTPRequestHandler, stop: threading.Event) -> None:
        send = motion_jpeg({}, 50)
        handler.wfile = Gate(handler.wfile, stop, seen)  # type: ignore[assignment]
        send(handler, stop)

    with served(respond) as address, opened(f"{address}/live?key=secret") as live:
        next_of(live, lambda shown: live.ready)
        while seen[0] < 40:
            seen[0] = number_of(next_of(live))
        assert "secret" not in live.name


class Gate:
    """A file for `motion_jpeg`: from the 20th picture on, those that begin waits for what was ``seen``."""

    def __init__(self, file: Any, stop: threading.Event, seen: list[int]) -> None:
        self.file, self.stop, self.seen, self.number = file, stop, seen, -1

    def write(self, data: bytes) -> None:
        self.number += data.startswith(b"--picture")
        while self.number > max(20, self.seen[0] + 2) and not self.stop.wait(0.005):
            pass
        self.file.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


def test_bursts_and_other_sizes_are_followed() -> None:
    seen = set()

    def pictures() -> Iterator[np.ndarray | None]:
        for size in [(480, 96), (720, 64), (481, 95), (480, 96)]:
            for number in itertools.count():
                yield yuyv(numbered(number % 90, size))
                yield None
                if number >= 8 and (size[1], size[0] // 2 * 2) in seen:
                    break
                time.sleep(number / 200)
        while True:
            time.sleep(0.02)
            yield yuyv(numbered(99))

    with opened(capture=lambda number: Cam(pictures(), "YUYV")) as live:
        shown = next_of(live)
        while number_of(shown) != 99:
            assert shown.sr is not None and shown.sr.frame.width == 2 * shown.source.width
            seen.add(shown.source.luma.shape)
            shown = next_of(live)
    assert len(seen) == 3


# ---- what goes wrong -----------------------------------------------------------------------------------------------


def test_a_camera_that_is_unplugged_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera, "_SILENT_S", 0.1)
    times: dict[int, float] = {}
    cams: list[Cam] = []

    def capture(number: int) -> Cam:
        cams.append(Cam(paced(50, times, 10 if not cams else 1 << 30, begin=100 * len(cams)), "YUYV"))
        cams[-1].opened = len(cams) not in (2, 3)
        return cams[-1]

    with opened(capture=capture) as live:
        next_of(live)
        next_of(live, lambda shown: number_of(shown) >= 300)
        told = [code for code, _ in live.messages]
        assert told.count("lost") == 1 and told.count("back") == 1
        assert "unplugged" in said(live, "lost")
    assert len(cams) == 4 and all(cam.released for cam in cams)


def test_a_stream_that_ends_is_opened_again() -> None:
    times: dict[int, float] = {}
    with served(motion_jpeg(times, 50, 25)) as address, opened(f"{address}/live") as live:
        next_of(live)
        next_of(live, lambda shown: number_of(shown) > 30)
        assert "secret" not in said(live, "lost")
        assert said(live, "back")


def test_a_stream_that_falls_silent_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection stands, but nothing comes: what comes next is another connection's."""
    monkeypatch.setattr(camera, "_READ_S", 1.0)
    times: dict[int, float] = {}
    calls: list[int] = []

    def respond(handler: http.server.BaseHTTPRequestHandler, stop: threading.Event) -> None:
        calls.append(len(calls))
        motion_jpeg(times, 50, 1 << 30 if len(calls) > 1 else 25)(handler, stop)
        stop.wait()

    with served(respond) as address, opened(f"{address}/live") as live:
        next_of(live, lambda shown: number_of(shown) > 30)
        assert "secret" not in said(live, "lost") and said(live, "back")
    assert len(calls) > 1


@pytest.mark.parametrize("hangs_up", [True, False])
def test_an_rtsp_camera_that_is_lost_comes_back(
    hangs_up: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hangs up, or says nothing more while its connection stands; then it is there again, with other numbers."""
    if not hangs_up:
        monkeypatch.setattr(camera, "_READ_S", 1.0)
    before, after = tmp_path / "before.ts", tmp_path / "after.ts"
    transport(str(before), iter(range(50)), 25)
    transport(str(after), iter(range(1000, 1100)), 25)
    lost = threading.Event()
    with rtsp(before, after, lost, hangs_up) as (address, asked), opened(f"{address}?key=secret") as live:
        assert number_of(next_of(live)) < 1000
        lost.set()
        next_of(live, lambda shown: number_of(shown) >= 1000)
        assert "127.0.0.1" in said(live, "lost") and said(live, "back")
        told = [code for code, _ in live.messages]
        assert told.index("lost") < told.index("back")
        assert not any("secret" in message for _, message in live.messages)
    assert asked.count("PLAY") >= 2


def test_a_transport_stream_over_udp_that_is_lost_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody sends for a while: no connection is lost, there is none."""
    monkeypatch.setattr(camera, "_OPEN_S", 60)
    monkeypatch.setattr(camera, "_READ_S", 1.0)
    address = f"udp://127.0.0.1:{free_port()}"
    with opened(address) as live:
        with sent(f"{address}?pkt_size=1316", 25):
            assert number_of(next_of(live)) < 100_000
        assert "no answer in time" in said(live, "lost")
        with sent(f"{address}?pkt_size=1316", 25, begin=100_000):
            next_of(live, lambda shown: number_of(shown) >= 100_000)
            assert said(live, "back")


def test_a_source_that_stalls_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "_STALLED_S", 0.2)
    hold, go = threading.Event(), threading.Event()

    def pictures() -> Iterator[np.ndarray]:
        for number in itertools.count():
            if hold.is_set():
                go.wait(60)
            time.sleep(0.02)
            yield yuyv(numbered(number))

    with opened(capture=lambda number: Cam(pictures(), "YUYV")) as live:
        try:
            next_of(live, lambda shown: live.ready)
            hold.set()
            assert "no picture" in said(live, "stalled")
        finally:
            go.set()
        assert said(live, "back")


def test_a_source_that_gives_few_pictures_a_second_is_not_taken_for_stalled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock by which two seconds lie between its pictures, and then ten."""
    monkeypatch.setattr(live_module, "_STALLED_S", 1.0)
    clock, stop = [0.0], threading.Event()

    def pictures() -> Iterator[np.ndarray]:
        for number in itertools.count():
            time.sleep(0.02)
            clock[0] += 10 if stop.is_set() else 1.9
            time.sleep(0.3)  # it is looked at what it gives
            while stop.is_set():
                time.sleep(0.01)
            clock[0] += 0.1
            yield yuyv(numbered(number))

    with opened(capture=lambda number: Cam(pictures(), "YUYV"), now=lambda: clock[0]) as live:
        try:
            next_of(live, lambda shown: live.ready)
            for _ in range(3):  # from which it is known how many it gives
                next_of(live)
            live.messages.clear()
            for _ in range(4):
                next_of(live)
            assert not live.messages
            stop.set()
            assert "no picture for 6 s" in said(live, "stalled")
        finally:
            stop.clear()
        assert said(live, "back")


def test_a_source_that_is_not_there_at_first_is_an_error() -> None:
    def capture(number: int) -> Cam:
        cam = Cam(iter([]))
        cam.opened = False
        return cam

    with opened(capture=capture) as live, pytest.raises(InputError, match="camera 0"):
        live.take(60)
    with pytest.raises(UsageError, match="no kind of stream"):
        Live("gopher://x")
    with pytest.raises(UsageError, match="unknown model"):
        Live("test", Choice("no-such"))


def test_an_engine_that_fails_gives_way_to_bicubic() -> None:
    class Fails(Nearest):
        made = 0

        def __init__(self, model: str, scale: int, **kwargs: Any) -> None:
            super().__init__(model, scale, **kwargs)
            self.fails = model != "bicubic"

        def _run(self, luma: np.ndarray, out: np.ndarray) -> None:
            Fails.made += self.fails
            if self.fails and Fails.made > 5:
                raise EngineError("out of luck")
            super()._run(luma, out)

    cam = Cam(paced(50, {}), "YUYV")
    with opened(capture=lambda number: cam, engines=Fails) as live:
        next_of(live, lambda shown: live.ready)
        assert said(live, "engine") == "out of luck"
        next_of(live, lambda shown: live.mode == "Bicubic")


def test_an_engine_that_cannot_be_opened_is_told_and_bicubic_shown() -> None:
    def engines(model: str, *args: Any, **kwargs: Any) -> Nearest:
        if model != "bicubic":
            raise EngineError("no such processor")
        return Nearest(model, *args, **kwargs)

    with opened("test", engines=engines) as live:
        assert said(live, "engine") == "no such processor"
        next_of(live)
        assert live.ready and live.mode == "Bicubic"


def test_a_file_is_played_to_its_end(clip: Clip) -> None:
    path = clip("a.mp4", pts=range(0, 20 * 512, 512), audio=1, options={"g": "1"})
    made: list[Fraction] = []
    with opened(str(path), paint=lambda shown: made.append(shown.time)) as live:
        times = [shown.time for shown in iter(lambda: live.take(60), None)]
        assert live.ended
    assert made == sorted(made) and set(times) <= set(made)
    assert times[-1] == made[-1] >= made[0] + Fraction(18, 25)  # the last is seen, whatever was left out before


@pytest.mark.skipif(not HANDLES.is_dir(), reason="open files are listed by Linux only")
def test_switching_sources_leaves_nothing(clip: Clip) -> None:
    path = clip("a.mp4")

    def once() -> None:
        with served(motion_jpeg({}, 50)) as address:
            for source in ("test", str(path), f"{address}/live"):
                with opened(source) as live:
                    next_of(live)

    once()
    gc.collect()
    before, threads = handles(), threading.active_count()
    for _ in range(3):
        once()
    gc.collect()
    until(lambda: handles() == before and threading.active_count() == threads)  # the server's end by themselves


def test_a_soak_grows_nothing() -> None:
    """``VSR_SOAK_S`` is how long; 1200 is the real one."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("memory is measured on Linux only")

    def facts() -> tuple[float, int, int]:
        resident = int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
        return resident, threading.active_count(), len(handles())

    with opened("test", asked=Asked((640, 360), Fraction(30))) as live:
        next_of(live, lambda shown: live.ready)
        seen = []
        ended = time.monotonic() + SOAK_S
        while time.monotonic() < ended or len(seen) < 8:
            for _ in range(10):
                next_of(live)
            seen.append(facts())
    quarter = len(seen) // 4
    megabytes = [statistics.median(each for each, _, _ in seen[quarter * part :][:quarter]) for part in (1, 2, 3)]
    print(f"{10 * len(seen)} frames: {' '.join(f'{each:.1f}' for each in megabytes)} MB, then {seen[-1]}")
    assert megabytes[2] < megabytes[0] + 8  # a queued frame would take 2 MB, 250 bytes of each in 20 minutes 9
    assert {each[1:] for each in seen[quarter:]} == {seen[quarter][1:]}


# ---- the governor --------------------------------------------------------------------------------------------------


def governed(costs: Callable[[int, float], float], seconds: float, rungs: int = 4, rate: float = 30) -> list[int]:
    """The rung of each frame where one costs what ``costs`` says of its rung and time."""
    governor, now, chosen = Governor(rungs, 1 / rate), 0.0, []
    while now < seconds:
        cost = costs(governor.rung, now)
        now += max(cost, 1 / rate)
        chosen.append(governor(cost, now))
    return chosen


def changes(rungs: list[int]) -> int:
    return sum(a != b for a, b in itertools.pairwise(rungs))


def test_the_governor_stays_where_there_is_time() -> None:
    assert set(governed(lambda rung, now: 0.03, 60)) == {0}


def test_the_governor_goes_down_one_step_at_a_time_until_it_holds() -> None:
    chosen = governed(lambda rung, now: (0.08, 0.05, 0.02, 0.001)[rung], 300)
    assert chosen[-1] == 2 and max(chosen) == 2
    assert all(abs(a - b) <= 1 for a, b in itertools.pairwise(chosen))
    assert changes(chosen) == 2  # it knows what the rung above costs


def test_the_governor_goes_up_again_when_the_load_is_gone() -> None:
    chosen = governed(lambda rung, now: (0.02, 0.012, 0.006, 0.001)[rung] * (4 if now < 20 else 1), 120)
    assert chosen[30 * 15] == 2 and chosen[-1] == 0
    assert changes(chosen) == 4


def test_the_governor_does_not_wobble() -> None:
    """A cost around the bound, and one that is wrongly taken for good: steps become rarer."""
    wobble = np.random.default_rng(1).uniform(0.9, 1.1, 100_000)
    steps = iter(wobble)
    chosen = governed(lambda rung, now: (0.0305, 0.024, 0.01, 0.001)[rung] * next(steps), 1200)
    assert changes(chosen) < 30
    chosen = governed(lambda rung, now: (0.05 if now % 40 > 5 else 0.02, 0.01, 0.005, 0.001)[rung], 1200)
    assert changes(chosen) < 60


def test_the_governor_ends_at_the_last_rung() -> None:
    assert governed(lambda rung, now: 1.0, 300)[-1] == 3
    assert set(governed(lambda rung, now: 1.0, 60, rungs=1)) == {0}


def test_the_ladder_goes_from_the_choice_to_bicubic() -> None:
    rungs = ladder(Choice())
    assert rungs[0] == Rung(Choice()) and rungs[-1].choice.model == "bicubic"
    assert [rung.part for rung in rungs[1:-1]] == [0.75, 0.5]
    precise = [rung.choice.precision for rung in ladder(Choice(engine="cpu", precision="fp32")) if rung.part == 1]
    assert precise == ["fp32", "bf16", "int8", "int8"]
    assert ladder(Choice(), pinned=True) == [Rung(Choice())]
    assert ladder(Choice("bicubic")) == [Rung(Choice("bicubic"))]


def costly(clock: list[float], per_pixel_s: float) -> Callable[..., Nearest]:
    """Engines that take time of a ``clock`` by how much they enlarge; bicubic none."""

    class Costly(Nearest):
        def _run(self, luma: np.ndarray, out: np.ndarray) -> None:
            clock[0] += per_pixel_s * luma.size if self.model != "bicubic" else 0
            super()._run(luma, out)

    return Costly


def test_what_is_held_is_held_by_a_smaller_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole picture would take 92 ms, the middle with its rim less than half of that: 20 a second are held by it,
    and around the middle lies bicubic."""
    monkeypatch.setattr(governor, "_PARTS", (0.5,))
    clock = [0.0]
    with opened(capture=lambda number: Cam(paced(50, {}), "YUYV"), engines=costly(clock, 2e-6), pinned=False, fps=20,
                now=lambda: clock[0]) as live:
        shown = next_of(live, lambda shown: "50%" in live.mode)
        shown = next_of(live, lambda later: later.time > shown.time + 2)
        assert "50%" in live.mode and shown.sr is not None and shown.sr.frame.width == 2 * shown.source.width
        assert "20 frames a second" in [message for code, message in live.messages if code == "mode"][-1]


def test_around_a_smaller_part_lies_bicubic() -> None:
    luma = numbered(5)
    frame = Frame((luma, *[np.full((48, 240), 128, np.uint8)] * 2), 8, 0, camera.TICK)
    with Sides(Choice(), layout_of(frame), False, 1, Nearest) as sides:
        side = enlarged(frame, WHOLE.within(Box(0, 0, 480, 96)), Step(Rung(Choice(), 0.5), sides))
    assert side is not None
    wanted, middle = Bicubic(2).upscale(luma), np.s_[48:144, 240:720]
    np.testing.assert_array_equal(side.frame.luma[middle], np.repeat(np.repeat(luma, 2, 0), 2, 1)[middle])
    side.frame.luma[middle] = wanted[middle] = 0
    np.testing.assert_array_equal(side.frame.luma, wanted)


def shipped(monkeypatch: pytest.MonkeyPatch, folder: Path, **sizes: tuple[int, int, int]) -> None:
    """As if weights of these names (with '-' for '_') had been shipped, for x2."""
    (folder / "weights").mkdir()
    for name, size in sizes.items():
        save_file(folder / "weights" / f"{name.replace('_', '-')}_x2.safetensors", random_weights(*size, 2))
    monkeypatch.setattr(catalogue, "assets_dir", lambda: folder)


def test_networks_join_the_ladder_when_they_ship_if_they_cost_less(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of those that cost the same, the first; none that has few weights but computes on the enlarged picture."""
    shipped(monkeypatch, tmp_path, fsrcnn_s=(32, 5, 1), fsrcnn=(56, 12, 4), fsrcnn_s_video_1=(32, 5, 1))
    srcnn = Network.parse("Bicubic, Conv(9,64,1) ReLU, Conv(1,32,64) ReLU, Conv(5,1,32)")
    entries = catalogue.catalogue()
    entries["srcnn"] = replace(entries["fsrcnn"], name="srcnn", network=srcnn)
    monkeypatch.setattr(governor, "catalogue", lambda: entries)
    assert "fsrcnn-s-video-1" in entries
    assert entries["fsrcnn-s"].parameters < entries["srcnn"].parameters < entries["fsrcnn"].parameters
    rungs = [(rung.choice.model, rung.part) for rung in ladder(Choice("fsrcnn"))]
    assert rungs == [("fsrcnn", 1), ("fsrcnn-s", 1), ("fsrcnn-s", 0.75), ("fsrcnn-s", 0.5), ("bicubic", 1)]


def test_from_a_large_network_to_a_small_one_to_its_part_to_bicubic(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Networks on the processor, none of which is ever fast enough: each is tried, in its order."""
    shipped(monkeypatch, tmp_path, fsrcnn_s=(32, 5, 1), fsrcnn=(56, 12, 4))

    def engines(model: str, *args: Any, **kwargs: Any) -> Engine:
        engine = open_engine(model, *args, **kwargs)
        run = engine._run
        if model != "bicubic":
            monkeypatch.setattr(engine, "_run", lambda *planes: (time.sleep(0.03), run(*planes)))
        return engine

    with opened("test", choice=Choice("fsrcnn", engine="cpu"), engines=engines, pinned=False, fps=60,
                asked=Asked((240, 64), Fraction(60))) as live:
        next_of(live, lambda shown: live.mode == "Bicubic", 120)
        modes = [message.rpartition(", for")[0] for code, message in live.messages if code == "mode"]
        assert not [message for code, message in live.messages if code == "engine"]
    assert len(modes) == 5
    for mode, wanted in zip(modes, ("FSRCNN x2", "FSRCNN-s x2", "FSRCNN-s x2", "FSRCNN-s x2", "Bicubic"), strict=True):
        assert mode.startswith(wanted)
    assert ["middle 75%" in modes[2], "middle 50%" in modes[3]] == [True, True]


# ---- what is waited for --------------------------------------------------------------------------------------------


def test_another_choice_is_told_to_be_prepared_and_nothing_stands_still_meanwhile() -> None:
    go = threading.Event()

    def engines(model: str, scale: int, **kwargs: Any) -> Nearest:
        if model != "bicubic" and scale == 3:
            assert go.wait(60)
        return Nearest(model, scale, **kwargs)

    with opened("test", engines=engines) as live:
        try:
            next_of(live, lambda shown: live.ready)
            live.choice = Choice(scale=3)
            next_of(live, lambda shown: shown.choice.scale == 3)
            assert live.mode == f"Bicubic until {DEFAULT_MODEL} is ready"
            live.choice = Choice(scale=4)
            next_of(live, lambda shown: shown.choice.scale == 4 and live.mode.startswith("FSRCNN-s"))
        finally:
            go.set()
        next_of(live)


def test_a_driver_that_never_answers_is_left_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "_PATIENCE_S", 0.05)
    go, reading = threading.Event(), threading.Event()

    def pictures() -> Iterator[np.ndarray]:
        yield yuyv(numbered(1))
        reading.set()
        go.wait(60)
        raise cv2.error("closed")

    cam = Cam(pictures(), "YUYV")
    live = opened(capture=lambda number: cam)
    try:
        assert reading.wait(60)
        live.close()
        assert not cam.released and not go.is_set()
    finally:
        go.set()
    until(lambda: cam.released)
    assert not live.messages


def test_closing_before_anything_is_ready_records_nothing(tmp_path: Path) -> None:
    lives: list[Live] = []

    def engines(model: str, *args: Any, **kwargs: Any) -> Nearest:
        if model != "bicubic":
            until(lambda: lives and lives[0]._closing.is_set())
        return Nearest(model, *args, **kwargs)

    with opened("test", engines=engines) as live:
        lives.append(live)
        live.record(tmp_path / "a.mkv")
        for _ in range(3):
            next_of(live)
        assert not live.ready
    assert not list(tmp_path.iterdir()) and not live.messages


def test_slow_painting_costs_no_more_than_half_of_the_time() -> None:
    """What a screen makes of a picture takes more than the time that there is: enlarging that is quick, less than half
    of it, is left as it is."""
    clock = [0.0]

    def paint(shown: Shown) -> str:
        clock[0] += 0.05
        return "drawn"

    with opened(capture=lambda number: Cam(paced(50, {}), "YUYV"), engines=costly(clock, 0.015 / (480 * 96)),
                now=lambda: clock[0], pinned=False, fps=25, paint=paint) as live:
        shown = next_of(live, lambda shown: live.ready)
        assert shown.painted == "drawn"
        next_of(live, lambda later: later.time > shown.time + 3)
        assert live.mode.startswith("FSRCNN-s") and "middle" not in live.mode


# ---- regions -------------------------------------------------------------------------------------------------------


def test_only_the_region_is_enlarged() -> None:
    cam = Cam(still(), "YUYV")
    with opened(capture=lambda number: cam, view=View()) as live:
        whole = next_of(live, lambda shown: live.ready)
        live.region = Box(100, 20, 200, 60)
        shown = next_of(live, lambda shown: shown.sr.box != whole.sr.box)
        assert shown.sr is not None and shown.bicubic is not None and whole.sr is not None
        assert shown.sr.box == shown.bicubic.box == Box(100, 20, 200, 60)
        np.testing.assert_array_equal(shown.sr.frame.luma, whole.sr.frame.luma[40:120, 200:400])
        live.region = None
        next_of(live, lambda shown: shown.sr.box == whole.sr.box)


def test_where_the_region_lies_beyond_the_picture_all_of_it_is_shown() -> None:
    with opened(capture=lambda number: Cam(still(), "YUYV"), region=Box(5000, 5000, 5010, 5010)) as live:
        for _ in range(3):
            shown = next_of(live, lambda shown: live.ready)
            assert shown.sr is not None and shown.sr.box == Box(0, 0, 480, 96)
        assert [message for code, message in live.messages if code == "region"] == [
            "the region lies beyond the picture of 480x96; all of it is shown"]
        live.region = Box(400, 0, 5000, 5000)
        shown = next_of(live, lambda shown: shown.sr.box.width < 480)
        assert shown.sr is not None and shown.sr.box == Box(400, 0, 480, 96)


# ---- the command ---------------------------------------------------------------------------------------------------


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_the_command_tells_how_it_goes(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["live", "--source", "test", "--headless", "--model", "bicubic", "--size", "480x96", "--fps", "50"]
    assert main([*arguments, "--duration", "1.5", "--progress", "json"]) == 0
    got = events(capsys.readouterr().out)
    assert all(each["v"] == 1 and each["input"] == "test" for each in got)
    kinds = [each["event"] for each in got if each["event"] != "warning"]
    assert (kinds[0], kinds[-1], {*kinds[1:-1]}) == ("start", "done", {"progress"})
    start, done = got[0], got[-1]
    assert (start["width"], start["height"], start["scale"], start["model"]) == (960, 192, 2, "bicubic")
    for each in got:
        if each["event"] in ("progress", "done"):
            assert each["capture_fps"] > 0 and each["fps"] > 0 and each["dropped"] >= 0 and each["mode"] == "Bicubic"
            assert 0 < each["latency_ms"]["median"] <= each["latency_ms"]["p95"]
            assert set(each["stage_ms"]) == {"capture", "upscale", "show"} and each["bottleneck"] in each["stage_ms"]
    assert done["frames"] > 2 and done["seconds"] >= 1.5


def test_the_start_names_what_was_opened_not_what_enlarged_the_first_picture() -> None:
    class Exact(Nearest):
        def __init__(self, model: str, scale: int, **kwargs: Any) -> None:
            super().__init__(model, scale, **kwargs)
            self.precision = "fp32" if model == "bicubic" else "int8"

    told: list[Any] = []
    show = SimpleNamespace(event=told.append)
    arguments = argparse.Namespace(record=None, virtual_camera=False, duration=0.1)
    go = threading.Event()

    def engines(model: str, *args: Any, **kwargs: Any) -> Nearest:
        assert model == "bicubic" or go.wait(60)
        return Exact(model, *args, **kwargs)

    with opened("test", engines=engines) as live:
        early = [next_of(live)]
        go.set()
        until(lambda: live.ready)
        take = live.take
        live.take = lambda timeout=0: early.pop() if early else take(timeout)  # type: ignore[method-assign]
        cli.follow_live(live, show, threading.Event(), arguments)  # type: ignore[arg-type]
    assert (told[0].model, told[0].engine, told[0].precision) == (DEFAULT_MODEL, "nearest", "int8")


def test_a_command_that_is_ended_at_once_has_taken_no_time(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def cancelled() -> Iterator[threading.Event]:
        event = threading.Event()
        event.set()
        yield event

    monkeypatch.setattr(cli, "signals_cancel", cancelled)
    assert main(["live", "--headless", "--source", "test", "--model", "bicubic", "--progress", "json"]) == 130
    (done,) = events(capsys.readouterr().out)
    assert (done["event"], done["frames"]) == ("done", 0) and done["seconds"] >= 0


def test_the_command_in_plain_words(capsys: pytest.CaptureFixture[str], clip: Clip) -> None:
    assert main(["live", "--source", str(clip("a.mp4")), "--headless", "--model", "bicubic"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].endswith("a.mp4 → 96x64  bicubic cpu fp32") or "bicubic reference" in out[0]
    assert "latency" in out[1] and "dropped" in out[1]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--source", "gopher://me:secret@x"], 2, "no kind of stream"),
        (["--source", "test", "--model", "nothing"], 2, "unknown model"),
        (["--source", "test", "--region", "10"], 2, "not a part of a picture"),
        (["--source", "test", "--pixel-format", "x"], 2, "four letters"),
        (["--source", "test", "--duration", "0"], 2, "no length of time"),
        (["--source", "http:/me:secret@127.0.0.1:9/x"], 2, "begins with http://"),
        (["http://me:secret@127.0.0.1:9/x"], 2, "unrecognized arguments: http://127.0.0.1:9/x"),
        (["--source", "99999999999"], 2, "no camera's number"),
        (["--source", "no/such/file.mp4"], 3, "does not exist"),
        (["--source", "http://me:secret@127.0.0.1:9/x"], 3, "cannot be opened"),
    ],
)
def test_what_the_command_refuses(arguments: list[str], status: int, said: str,
                                  capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["live", "--headless", *arguments]) == status
    err = capsys.readouterr().err
    assert said in err and "secret" not in err and len(err.splitlines()) == 1


def test_the_command_ends_though_its_region_lies_beyond_the_picture(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["live", "--source", "test", "--headless", "--model", "bicubic", "--size", "480x96"]
    assert main([*arguments, "--region", "10x10+5000+5000", "--duration", "0.2"]) == 0
    out = capsys.readouterr()
    assert "→ 960x192" in out.out and "beyond the picture of 480x96" in out.err


def test_the_command_lists_cameras(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera, "cameras", lambda: [(0, "Built-in"), (2, "USB")])
    assert main(["live", "--list"]) == 0
    assert capsys.readouterr().out == "0: Built-in\n2: USB\n"
    assert main(["live", "--list", "--progress", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["cameras"][1] == {"index": 2, "name": "USB"}
