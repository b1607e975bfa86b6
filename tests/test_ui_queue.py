"""The queue: what is put into it is made, one after another, whatever happens to one of them or to the window."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Clip, Nearest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
pytest.importorskip("pytestqt", reason="the window's tests need pytest-qt")

from PySide6.QtCore import QMimeData, QModelIndex, QObject, QPointF, QSettings, Qt, QThread, QTimer, QUrl
from PySide6.QtGui import QDropEvent
from PySide6.QtWidgets import QFileDialog, QSystemTrayIcon, QToolButton
from pytestqt.qtbot import QtBot

import vsr
from ui.items import Item, Settings, State, brief, duration, plain
from ui.queue import QueuePage
from ui.rows import made_by, reason
from ui.work import Queue
from vsr.pipeline import run

QUICK = Settings(model="bicubic", preset="ultrafast")
LONG = range(0, 250 * 512, 512)  # pts: long enough to come between
WAIT_MS = 120_000


class Paced(Nearest):
    """Takes its time for a frame, so that there is always something left to pause, cancel or cut off."""

    pause_s = 0.05

    def _run(self, luma: np.ndarray, out: np.ndarray) -> None:
        time.sleep(self.pause_s)
        super()._run(luma, out)


@pytest.fixture
def paced(monkeypatch: pytest.MonkeyPatch) -> type[Paced]:
    """Jobs take several seconds, until ``pause_s`` is 0."""
    monkeypatch.setattr(Paced, "pause_s", Paced.pause_s)
    monkeypatch.setattr(vsr, "run", partial(run, engines=Paced), raising=False)
    return Paced


@pytest.fixture
def queues(tmp_path: Path, qtbot: QtBot) -> Iterator[Callable[[], Queue]]:
    """A function that opens the queue of one person; the one before must be shut. In the end none runs on."""
    opened: list[Queue] = []

    def open_queue() -> Queue:
        queue = Queue(tmp_path / "state")
        opened.append(queue)
        TOLD[id(queue)] = []
        queue.said.connect(lambda *said: told(queue).append(said))
        queue.restore()
        if not queue.items:
            queue.set_defaults(QUICK)
        return queue

    yield open_queue
    for queue in opened:
        queue.shut()
    assert not [thread for queue in opened for thread in queue.findChildren(QThread) if thread.isRunning()]


@pytest.fixture
def queue(queues: Callable[[], Queue]) -> Queue:
    return queues()


@pytest.fixture
def page(queue: Queue, qtbot: QtBot) -> Iterator[QueuePage]:
    page = QueuePage(queue)
    page.resize(1280, 800)
    page.show()
    yield page
    page.shut()
    page.close()


TOLD: dict[int, list[tuple[str, str, Any]]] = {}


def told(queue: Queue) -> list[tuple[str, str, Any]]:
    """What it said for the strip of messages."""
    return TOLD.setdefault(id(queue), [])


def states(queue: Queue) -> list[str]:
    return [item.state.value for item in queue.items]


def until(qtbot: QtBot, holds: Callable[[], bool]) -> None:
    qtbot.waitUntil(holds, timeout=WAIT_MS)


def finish(qtbot: QtBot, queue: Queue) -> None:
    """Let it make all that waits, and look at it."""
    queue.start()
    until(qtbot, lambda: not queue.started and queue.running is None)


def broken(folder: Path) -> Path:
    path = folder / "broken.mp4"
    path.write_bytes(b"no video" * 500)
    return path


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_file()}


# ---- making --------------------------------------------------------------------------------------------------------


def test_one_failure_stops_nothing_and_can_be_tried_again(
    clip: Clip, tmp_path: Path, queue: Queue, qtbot: QtBot
) -> None:
    paths = [clip("a.mp4"), broken(tmp_path), clip("b.mp4")]
    queue.add(paths)
    with qtbot.waitSignal(queue.ran_out, timeout=WAIT_MS) as ended:
        queue.start()
    assert ended.args == [2, 1]
    assert states(queue) == ["done", "failed", "done"]
    good, bad, _ = queue.items
    assert "is not a video" in bad.why and bad.why in bad.log[-1]
    assert good.output == tmp_path / "a_x2.mp4" and vsr.probe(good.output).video.width == 96
    assert good.size == good.becomes == (96, 64) and good.share == 1 and queue.share == 1
    assert {check["name"] for check in good.checks} >= {"frames", "size"} and all(each["ok"] for each in good.checks)
    until(qtbot, lambda: good.before is not None and good.after is not None)
    assert good.after.width() == 2 * good.before.width() == 96

    paths[1].write_bytes(paths[0].read_bytes())
    queue.retry([bad])
    assert states(queue) == ["done", "waiting", "done"] and not bad.why
    finish(qtbot, queue)
    assert states(queue) == ["done", "done", "done"] and (tmp_path / "broken_x2.mp4").is_file()


def test_cancelling_one_goes_on_with_the_next_and_leaves_nothing(
    clip: Clip, tmp_path: Path, queue: Queue, qtbot: QtBot
) -> None:
    queue.add([clip("a.mp4"), clip("b.mp4"), clip("c.mp4")])
    first, second, third = queue.items
    queue.cancel([second])
    queue.start()
    queue.pause()
    until(qtbot, lambda: any(".part." in name for name in files(tmp_path)))
    queue.cancel([first])
    assert queue.state_name(first) == "Stopping"
    until(qtbot, lambda: queue.running is None and not queue.started)
    assert states(queue) == ["cancelled", "cancelled", "done"]
    assert files(tmp_path) == {"a.mp4", "b.mp4", "c.mp4", "c_x2.mp4"}

    queue.retry([second, third])
    queue.start()
    queue.cancel_all()
    until(qtbot, lambda: queue.running is None)
    assert not set(states(queue)) & {"waiting", "running"} and not queue.started


def test_a_pause_stands_still_until_it_goes_on(
    clip: Clip, queue: Queue, qtbot: QtBot, paced: type[Paced]
) -> None:
    queue.add([clip("a.mp4", pts=LONG), clip("b.mp4")])
    first, second = queue.items
    queue.hold([second])
    queue.start()
    until(qtbot, lambda: first.frame > 0)
    queue.pause()
    assert states(queue) == ["paused", "paused"] and queue.paused
    stood = [first.frame]
    timer = QTimer(interval=200)  # four frames, if it went on
    timer.timeout.connect(lambda: stood.append(first.frame))
    timer.start()
    until(qtbot, lambda: len(stood) > 5 and len(set(stood[-5:])) == 1)
    assert first.frame < len(LONG) and queue.running is first
    paced.pause_s = 0
    queue.start()
    assert states(queue) == ["running", "paused"]
    until(qtbot, lambda: queue.running is None)
    assert states(queue) == ["done", "paused"] and first.frames == len(LONG)
    queue.release([second])
    finish(qtbot, queue)
    assert states(queue) == ["done", "done"]


def test_what_is_removed_while_it_is_made_ends_first(clip: Clip, tmp_path: Path, queue: Queue, qtbot: QtBot) -> None:
    queue.add([clip("a.mp4"), clip("b.mp4")])
    queue.start()
    queue.pause()
    queue.remove(queue.items[:1])
    until(qtbot, lambda: queue.running is None and not queue.started)
    assert [item.name for item in queue.items] == ["b.mp4"]
    assert files(tmp_path) == {"a.mp4", "b.mp4", "b_x2.mp4"}


@pytest.mark.parametrize(
    ("existing", "state", "made"),
    [("number", "done", "a_x2 (2).mp4"), ("skip", "skipped", None), ("replace", "done", "a_x2.mp4")],
)
def test_what_exists_is_never_lost_unless_it_is_to_be(
    clip: Clip, tmp_path: Path, queue: Queue, qtbot: QtBot, existing: str, state: str, made: str | None
) -> None:
    path, old = clip("a.mp4"), tmp_path / "a_x2.mp4"
    old.write_bytes(b"mine")
    queue.add([path])
    queue.set(queue.items, existing=existing)
    finish(qtbot, queue)
    assert states(queue) == [state]
    assert (old.read_bytes() == b"mine") == (existing != "replace")
    assert queue.items[0].output == (tmp_path / made if made else None)
    assert state != "skipped" or "exists already" in queue.items[0].why


def test_no_result_takes_the_place_of_a_source_or_of_another_s_result(
    clip: Clip, tmp_path: Path, queue: Queue, qtbot: QtBot
) -> None:
    (tmp_path / "other").mkdir()
    path = clip("a.mp4")
    other = clip("b.mp4").rename(tmp_path / "other" / "a.mp4")
    before = path.read_bytes()
    queue.set_defaults(replace(QUICK, existing="replace", name="{name}", folder=str(tmp_path)))
    queue.add([other])
    queue.add([path])
    queue.set_defaults(replace(queue.defaults, name="same"))
    queue.add([path.with_name("c.mp4"), clip("d.mp4")])
    path.with_name("c.mp4").write_bytes(before)
    finish(qtbot, queue)
    assert states(queue) == ["failed", "failed", "done", "failed"]
    assert path.read_bytes() == before and queue.items[2].output == tmp_path / "same.mp4"
    assert [("another input" in item.why, "is the input" in item.why) for item in queue.items] == [
        (True, False), (False, True), (False, False), (True, False)]


def test_pictures_are_made_with_a_video_s_settings(tmp_path: Path, queue: Queue, qtbot: QtBot, clip: Clip) -> None:
    cv2 = pytest.importorskip("cv2")
    assert cv2.imwrite(str(tmp_path / "a.png"), cv2.UMat(24, 32, cv2.CV_8UC3).get())
    queue.set_defaults(replace(QUICK, codec="hevc", crf=30.0, folder="out", size="x3"))
    queue.add([tmp_path / "a.png"])
    finish(qtbot, queue)
    assert states(queue) == ["done"], queue.items[0].why
    assert files(tmp_path / "out") == {"a_x3.png"} and "PNG" in made_by(queue.items[0])


# ---- the list ------------------------------------------------------------------------------------------------------


def test_order_duplicates_and_removal(tmp_path: Path, queue: Queue, qtbot: QtBot) -> None:
    queue.add([tmp_path / name for name in "abcd"])

    def names() -> str:
        return "".join(item.name for item in queue.items)

    a, b, c, d = queue.items
    queue.move([c, d], -1)
    assert names() == "acdb"
    queue.move([a, c], -1)
    assert names() == "acdb"
    queue.move([a, d], 1)
    assert names() == "cabd"
    assert queue.moveRow(QModelIndex(), 3, QModelIndex(), 0) and names() == "dcab"
    queue.set([c], size="x4")
    (copy,) = queue.duplicate([c])
    assert names() == "dccab" and copy.settings == c.settings and copy is not c
    queue.set([copy], size="x2")
    assert c.settings.size == "x4"
    queue.remove([d, b])
    assert names() == "cca"
    queue.add([tmp_path / "a"])
    assert names() == "cca" and "in the queue already" in told(queue)[-1][0]


def test_folders_and_files_are_dropped(clip: Clip, tmp_path: Path, page: QueuePage, qtbot: QtBot) -> None:
    queue, folder = page.queue, tmp_path / "folder"
    (folder / "empty").mkdir(parents=True)
    for name in ("b.mp4", "a.mp4", "a_x2.mp4"):
        clip(name).rename(folder / name)
    (folder / "notes.txt").write_text("no video")
    loose = clip("c.mp4")

    def drop(*paths: Path) -> QMimeData:
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
        return data

    both, modifiers = Qt.DropAction.MoveAction | Qt.DropAction.CopyAction, Qt.KeyboardModifier.ShiftModifier
    data = drop(folder, loose)
    event = QDropEvent(QPointF(300, 300), both, data, Qt.MouseButton.LeftButton, modifiers)
    assert event.dropAction() == Qt.DropAction.MoveAction
    page.dropEvent(event)
    assert event.dropAction() == Qt.DropAction.CopyAction  # moved files would be deleted where they came from
    until(qtbot, lambda: len(queue.items) == 3)
    assert sorted(item.name for item in queue.items) == ["a.mp4", "b.mp4", "c.mp4"]
    data = drop(tmp_path / "first.mp4", tmp_path / "second.mp4")
    event = QDropEvent(QPointF(page.list.visualRect(queue.index(0)).center()), both, data, Qt.MouseButton.LeftButton,
                       modifiers)
    page.list.dropEvent(event)
    assert event.dropAction() == Qt.DropAction.CopyAction
    assert [item.name for item in queue.items[:2]] == ["first.mp4", "second.mp4"]
    page.open([folder / "empty", folder / "none"])
    until(qtbot, lambda: any("no video or picture in the folder empty" in said[0] for said in told(queue)))
    assert queue.items[-1].name == "none"
    until(qtbot, lambda: "does not exist" in queue.items[-1].trouble)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""), ({"size": "×3"}, ""), ({"size": "1920 x 1080"}, ""), ({"size": "4K"}, ""), ({"size": "720"}, ""),
        ({"folder": "somewhere/else"}, ""), ({"name": "{name} {width}x{height}"}, ""), ({"codec": "ffv1"}, ""),
        ({"size": "big"}, "is no size"), ({"size": "9"}, "16 to 16384"), ({"size": "5x"}, "is no size"),
        ({"name": "{nmae}"}, "{nmae}"), ({"name": "a/b"}, "'/'"), ({"name": ""}, "no name"),
        ({"model": "none"}, "unknown model"), ({"codec": "h26x"}, "unknown codec"), ({"crf": 99.0}, "crf"),
    ],
)
def test_settings_are_checked(changes: dict[str, object], said: str) -> None:
    wrong = replace(Settings(), **changes).wrong()  # type: ignore[arg-type]
    assert said in wrong and bool(said) == bool(wrong) and "--" not in wrong


# ---- remembering ---------------------------------------------------------------------------------------------------


def test_the_queue_survives_and_what_was_cut_off_begins_again(
    clip: Clip, tmp_path: Path, queues: Callable[[], Queue], qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def held(job: vsr.Job, told: object, cancel: threading.Event, pause: threading.Event, **options: Any) -> object:
        if job.input.name == "b.mp4":
            assert pause.wait(60)
        return run(job, told, cancel, pause, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(vsr, "run", held, raising=False)
    queue = queues()
    queue.add([clip("a.mp4"), clip("b.mp4"), clip("c.mp4"), broken(tmp_path)])
    queue.set([queue.items[2]], size="x3", name="{name} big")
    queue.set_defaults(replace(QUICK, size="x4"))
    queue.start()
    until(qtbot, lambda: queue.running is queue.items[1])
    queue.pause()

    def remembered() -> dict[str, Any]:
        return json.loads((tmp_path / "state" / "queue.json").read_bytes())  # type: ignore[no-any-return]

    until(qtbot, lambda: [item["state"] for item in remembered()["items"]][:2] == ["done", "running"])
    crashed = remembered()  # as it is while something runs
    queue.shut()
    monkeypatch.setattr(vsr, "run", run, raising=False)
    assert states(queue) == ["done", "cut off", "waiting", "waiting"]
    assert files(tmp_path) == {"a.mp4", "b.mp4", "c.mp4", "broken.mp4", "a_x2.mp4"}
    seen = queue.items

    again = queues()
    assert states(again) == states(queue) and again.running is None
    for one, other in zip(seen, again.items, strict=True):
        assert (one.path, one.settings, one.log, one.checks, one.output) == (
            other.path, other.settings, other.log, other.checks, other.output)
    assert again.defaults.size == "x4"
    assert "starts again from its beginning" in again.items[1].why and "b.mp4" in told(again)[0][0]
    again.shut()

    part = tmp_path / ".b_x2.0123abcd.part.mp4"  # what a crash leaves
    part.write_bytes(b"half")
    os.utime(part, (1, 1))
    crashed["items"][1]["output"] = str(tmp_path / "b_x2.mp4")
    (tmp_path / "state" / "queue.json").write_text(json.dumps(crashed))
    third = queues()
    assert states(third) == ["done", "cut off", "waiting", "waiting"]
    until(qtbot, lambda: not part.exists())
    label, start = told(third)[-1][1:]
    assert label == "Start"
    start()
    until(qtbot, lambda: not third.started and third.running is None)
    assert states(third) == ["done", "done", "done", "failed"] and not third.items[1].why
    assert {"b_x2.mp4", "c big.mp4"} <= files(tmp_path) and third.items[1].frames == 12


@pytest.mark.parametrize("damage", ["", "[]", "{", '{"v": 2, "defaults": {}, "items": []}'])
def test_a_damaged_file_is_kept_aside(tmp_path: Path, queues: Callable[[], Queue], qtbot: QtBot, damage: str) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "queue.json").write_text(damage)
    queue = queues()
    assert queue.items == []
    (aside,) = (tmp_path / "state").glob("queue.damaged-*.json")
    assert aside.read_text() == damage and str(aside) in told(queue)[0][0]


def test_of_a_file_that_is_damaged_in_part_the_good_items_are_kept(
    tmp_path: Path, queues: Callable[[], Queue], qtbot: QtBot
) -> None:
    queue = queues()
    queue.add([tmp_path / name for name in "abc"])
    queue.shut()
    path = tmp_path / "state" / "queue.json"
    known = json.loads(path.read_bytes())
    known["items"][0]["frame"] = "many"
    del known["items"][1]["state"]
    path.write_text(json.dumps(known))
    queue = queues()
    assert [item.name for item in queue.items] == ["c"]
    assert len(list((tmp_path / "state").glob("queue.damaged-*.json"))) == 1


def test_a_second_window_leaves_the_first_one_s_queue_alone(
    tmp_path: Path, queues: Callable[[], Queue], qtbot: QtBot
) -> None:
    first, second = queues(), queues()
    assert "Another window" in told(second)[0][0] and not told(first)
    first.add([tmp_path / "a"])
    second.add([tmp_path / "b"])
    second.shut()
    first.shut()
    assert [item.name for item in queues().items] == ["a"]


# ---- the window ----------------------------------------------------------------------------------------------------


def test_closing_during_work_leaves_nothing(
    clip: Clip, tmp_path: Path, page: QueuePage, qtbot: QtBot, paced: type[Paced]
) -> None:
    page.open([clip("a.mp4", pts=LONG), clip("b.mp4")])
    assert page.busy() is None
    until(qtbot, page.start.isEnabled)
    page.start.trigger()
    item = page.queue.items[0]
    until(qtbot, lambda: item.frame > 0)
    assert "a.mp4" in str(page.busy())
    page.shut()
    assert page.busy() is None and states(page.queue) == ["cut off", "waiting"]
    assert files(tmp_path) == {"a.mp4", "b.mp4"}
    assert not [thread for thread in page.queue.findChildren(QThread) if thread.isRunning()]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("vsr")]
    if Path("/proc/self/fd").is_dir():
        links = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
                 if os.path.islink(f"/proc/self/fd/{fd}")]
        assert not [link for link in links if str(tmp_path) in link]


def test_the_loop_goes_round_while_files_are_made(
    clip: Clip, page: QueuePage, qtbot: QtBot, paced: type[Paced]
) -> None:
    """It waits for no job, and hardly any of the work is the GUI's thread's."""
    paced.pause_s = 0.02
    page.open([clip("a.mp4", pts=LONG[:80], size=(320, 240))])
    until(qtbot, lambda: page.queue.items[0].before is not None)
    page.list.setCurrentIndex(page.queue.index(0))
    rounds: list[float] = []
    timer = QTimer(interval=10)
    timer.timeout.connect(lambda: rounds.append(time.perf_counter()))
    timer.start()
    page.queue.start()
    began = time.thread_time(), time.process_time()
    until(qtbot, lambda: page.queue.running is None)
    own, whole = time.thread_time() - began[0], time.process_time() - began[1]
    timer.stop()
    gaps = [later - earlier for earlier, later in itertools.pairwise(rounds)]
    assert states(page.queue) == ["done"] and len(gaps) > 20
    assert max(gaps) < sum(gaps) / 3 and own < whole / 2


def test_the_page_shows_what_is_so(clip: Clip, tmp_path: Path, page: QueuePage, qtbot: QtBot) -> None:
    assert page.stack.currentIndex() == 0 and not page.start.isEnabled() and page.tabs.currentIndex() == 2
    page.open([clip("a.mp4"), broken(tmp_path)])
    until(qtbot, lambda: page.start.isEnabled())
    assert page.stack.currentIndex() == 1 and "1 of" not in page.whole.text()
    page.list.setCurrentIndex(page.queue.index(0))
    until(qtbot, lambda: page.tabs.currentIndex() == 0 and page.form.isEnabled())
    models = [page.form.model.itemData(row) for row in range(page.form.model.count())]
    assert {"fsrcnn-s", "fsrcnn-s-video"} < set(models) and not [each for each in models if each[-1:].isdigit()]
    assert Settings().model == vsr.Choice().model in models
    page.form.name.setText("{name}_{nonsense}")
    page.form.name.editingFinished.emit()
    until(qtbot, lambda: "{nonsense}" in page.form.wrong.text())
    page.form.name.setText("{name}-{scale}")
    page.form.name.editingFinished.emit()
    page.form.scale.setCurrentIndex(page.form.scale.findData("x4"))
    page.form.scale.activated.emit(2)
    until(qtbot, lambda: not page.form.wrong.text())
    assert page.queue.items[0].settings == replace(QUICK, name="{name}-{scale}", size="x4")
    assert page.queue.items[1].settings == page.queue.defaults == QUICK
    page.start.trigger()
    until(qtbot, lambda: page.queue.running is None and not page.queue.started and page.open_result.isEnabled())
    assert (tmp_path / "a-4.mp4").is_file() and "Self-check" in page.report.toPlainText()
    assert not page.form.isEnabled() and page.whole.text() == "1 of 2 done  ·  1 failed"
    with qtbot.waitSignal(page.go) as gone:
        page.compare.trigger()
    assert gone.args == ["result", [tmp_path / "a.mp4", tmp_path / "a-4.mp4"]]
    (tmp_path / "a-4.mp4").unlink()
    with qtbot.waitSignal(page.message) as told:
        page.compare.trigger()
    assert "no longer there" in told.args[0]
    assert reason(page.queue.items[1]).startswith("broken.mp4 is not")
    page.queue.items[1].why = "/x/a is 9x9 already, which --height 9 does not enlarge"
    assert reason(page.queue.items[1]) == "/x/a is 9x9 already, which height 9 does not enlarge"
    page.list.selectAll()
    until(qtbot, lambda: page.heading.text() == "2 files")
    page.again.trigger()
    assert page.queue.started
    until(qtbot, lambda: page.queue.running is None and not page.queue.started)
    assert states(page.queue) == ["done", "failed"]


def test_what_failed_is_made_otherwise_and_again(
    clip: Clip, tmp_path: Path, page: QueuePage, qtbot: QtBot
) -> None:
    queue = page.queue
    queue.add([clip("a.mp4")])
    queue.set(queue.items, name="a", existing="replace")  # which is the source itself
    page.list.setCurrentIndex(queue.index(0))
    finish(qtbot, queue)
    assert states(queue) == ["failed"]
    until(qtbot, lambda: page._of_others.isVisible())
    assert page.form.isEnabled() and not page.fixed.isVisible() and not page._of_results[0].isVisible()
    page.form.name.setText("b")
    page.form.name.editingFinished.emit()
    page._of_others.click()
    until(qtbot, lambda: page._of_results[0].isVisible())
    assert states(queue) == ["done"] and (tmp_path / "b.mp4").is_file() and not page._of_others.isVisible()
    until(qtbot, lambda: page.pair.isVisible())
    queue.add([broken(tmp_path)])
    page.list.setCurrentIndex(queue.index(1))
    until(qtbot, lambda: bool(queue.items[1].problem) and page.heading.text() == "broken.mp4")
    assert not page.pair.isVisible()  # there is nothing to be seen of it


def test_a_button_is_called_by_what_it_does_now(page: QueuePage, tmp_path: Path, qtbot: QtBot) -> None:
    page.queue.add([tmp_path / "a.mp4"])
    page.list.setCurrentIndex(page.queue.index(0))
    button = next(each for each in page.findChildren(QToolButton) if each.defaultAction() is page.hold)
    for name, tip in (("Pause", "Leave"), ("Go on", "Let"), ("Pause", "Leave")):
        until(qtbot, lambda name=name: button.accessibleName() == name  # type: ignore[misc]
              and page.hold.isEnabled())
        assert button.toolTip().startswith(tip)
        page.hold.trigger()


def test_files_are_chosen_while_all_goes_on(clip: Clip, page: QueuePage, qtbot: QtBot, tmp_path: Path) -> None:
    """No dialog has a loop of its own."""
    path = clip("a.mp4")

    def dialog() -> QFileDialog:
        (found,) = (each for each in page.findChildren(QFileDialog) if each.isVisible())
        return found

    page.add_files.trigger()
    assert any("*.mp4" in kinds for kinds in dialog().nameFilters())
    chosen = dialog()
    chosen.filesSelected.emit([str(path)])
    chosen.reject()
    until(qtbot, lambda: [item.path for item in page.queue.items] == [path])
    page.add_folder.trigger()
    assert dialog().fileMode() is QFileDialog.FileMode.Directory
    assert dialog().directory().path() == str(tmp_path)  # where files were last chosen from
    dialog().reject()
    page.list.setCurrentIndex(page.queue.index(0))
    until(qtbot, page.form.choose.isVisible)
    page.form.choose.click()
    chosen = dialog()
    chosen.filesSelected.emit([str(tmp_path / "out")])
    chosen.reject()
    assert page.form.folder.text() == page.queue.items[0].settings.folder == str(tmp_path / "out")


def test_the_end_is_told_where_nobody_looks(page: QueuePage, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    class Tray(QObject):
        def __init__(self, icon: object, parent: QObject) -> None:
            super().__init__(parent)

        isSystemTrayAvailable = supportsMessages = staticmethod(lambda: True)
        MessageIcon = QSystemTrayIcon.MessageIcon
        show = hide = lambda self: None

        def showMessage(self, title: str, text: str, icon: object, ms: int) -> None:
            shown.append(text)

    monkeypatch.setattr("ui.desktop.QSystemTrayIcon", Tray)
    told: list[str] = []
    page.message.connect(lambda text, label, action: told.append(text))
    for looking, wanted in ((True, True), (False, False), (False, True)):
        monkeypatch.setattr(page, "isActiveWindow", lambda looking=looking: looking)
        page.notify.setChecked(wanted)
        page.queue.ran_out.emit(2, 1)
    assert told == 3 * ["The queue is through: 2 made, 1 failed."] and shown == told[:1]
    if sys.platform == "linux":  # where there is no tray, too
        called: list[list[str]] = []
        monkeypatch.setattr(Tray, "isSystemTrayAvailable", staticmethod(lambda: False))
        monkeypatch.setattr("ui.desktop.QProcess.startDetached", lambda program, given: called.append(given))
        page.queue.ran_out.emit(2, 1)
        assert [told[0] in given for given in called] == [True] and shown == told[:1]


def test_the_taskbar_shows_how_far_it_is() -> None:
    """Heard on a bus of its own."""
    if not all(map(shutil.which, ("dbus-run-session", "dbus-monitor"))):
        pytest.skip("there is no D-Bus here")
    code = (
        "import subprocess; from PySide6.QtCore import QTimer\n"
        "heard = subprocess.Popen(['dbus-monitor', '--session', 'member=Update'], stdout=subprocess.PIPE, text=True)\n"
        "while 'NameAcquired' not in heard.stdout.readline(): pass\n"
        "from ui.app import application; from ui.desktop import Desktop\n"
        "app = application([]); desktop = Desktop(app)\n"
        "for share in (0.5, 0.501, None): desktop.progress(share)\n"
        "lines = []\n"
        "while sum('boolean' in line for line in lines) < 2: lines.append(heard.stdout.readline())\n"
        "print(' '.join(' '.join(lines).split())); heard.kill()"
    )
    run = subprocess.run(["dbus-run-session", "--", sys.executable, "-c", code], capture_output=True, text=True,
                         timeout=WAIT_MS / 1000, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])})
    assert run.returncode == 0, run.stderr
    assert re.findall(r"application://vsr.desktop|double [\d.]+|boolean \w+", run.stdout) == [
        "application://vsr.desktop", "double 0.5", "boolean true",
        "application://vsr.desktop", "double 0", "boolean false"]


def test_what_was_chosen_comes_back(tmp_path: Path, page: QueuePage, queues: Callable[[], Queue], qtbot: QtBot) -> None:
    settings = QSettings(str(tmp_path / "settings.ini"), QSettings.Format.IniFormat)
    page.notify.setChecked(False)
    page.default_form.scale.setEditText("1440p")
    page.default_form.scale.lineEdit().editingFinished.emit()
    page.split.setSizes([700, 400])
    page.panel.trigger()
    assert page.details.isHidden()
    page.save_state(settings)
    page.panel.trigger()
    sizes = page.split.sizes()
    page.shut()
    other = QueuePage(Queue(tmp_path / "state"))
    other.resize(page.size())
    other.show()
    other.restore_state(settings)
    assert other.details.isHidden() and not other.notify.isChecked()
    other.panel.trigger()
    assert other.split.sizes() == sizes and other.queue.defaults.size == "1440p"
    other.shut()


def test_every_action_has_a_key_and_words_of_its_own(page: QueuePage, tmp_path: Path) -> None:
    page.queue.add([tmp_path / "a.mp4"])
    assert all(action.toolTip() and not action.shortcut().isEmpty() for action in page.actions())
    keys, texts = zip(*page.keys(), strict=True)
    assert len(set(keys)) == len(set(texts)) == len(page.actions())
    index = page.queue.index(0)
    assert index.data(Qt.ItemDataRole.AccessibleTextRole) == "a.mp4, Waiting"


def test_words() -> None:
    assert [duration(s) for s in (0.4, 59.4, 59.6, 185, 3723)] == ["0 s", "59 s", "1:00 min", "3:05 min", "1:02:03 h"]
    item = Item(Path("/x/a.mp4"), Settings())
    assert made_by(item) == "×2  ·  FSRCNN-s video" and item.state is State.WAITING
    assert brief("short.mp4") == "short.mp4" and len(brief("long" * 20 + ".mp4")) == 48
    assert plain("/x/y cannot be written: no room; give another with -o") == "/x/y cannot be written: no room"
    assert plain("the disk is full; free some, or write elsewhere with -o") == "the disk is full; free some"
