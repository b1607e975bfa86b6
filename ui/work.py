"""The queue without widgets: one job after another, whatever happens to one of them.

`Queue` is a list model, so that a view shows it as it is. All of it lives in the GUI's thread; jobs and looks at files
have a thread each, which tell by signals.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import (
    QAbstractListModel,
    QByteArray,
    QMimeData,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    QStandardPaths,
    Qt,
    QThread,
    QTimer,
    Signal,
)
from PySide6.QtGui import QImage

import vsr
from ui.items import ENDED, TO_DO, Item, Settings, State, brief, duration, reason, shown
from ui.memory import Memory

THUMBNAIL = 256  # pixels, the longer side
_ITEMS = "application/x-vsr-items"  # what is dragged within the list
_SAVE_MS = 5000  # between two records of how far a job is
_STACK = 1 << 24  # bytes for a job: macOS gives other threads than the first half a MiB

Index = QModelIndex | QPersistentModelIndex


# ---- threads -------------------------------------------------------------------------------------------------------


class _Run(QThread):
    """One job; ``done`` or ``error`` in the end."""

    told = Signal(object)

    def __init__(self, item: Item, taken: set[Path], parent: QObject) -> None:
        super().__init__(parent)
        self.setStackSize(_STACK)
        self.item, self.cancel, self.pause = item, threading.Event(), threading.Event()
        self.done: vsr.Done | None = None
        self.error: vsr.VsrError | None = None
        self._path, self._settings, self._taken = item.path, item.settings, taken

    def run(self) -> None:
        try:
            job = self._settings.job(self._path, vsr.still_format(self._path) is not None)
            assert job.output is not None
            with vsr.made_folder(job.output):
                self.done = vsr.run(job, self.told.emit, self.cancel, self.pause, taken=self._taken)
        except vsr.VsrError as error:
            self.error = error
        except Exception as error:
            self.error = vsr.VsrError(f"unexpected {type(error).__name__}: {error} (please report it)")


class _Stopped(Exception):
    """A look is no longer wanted."""


class _Aside(QThread):
    """Small questions about files, one after another, the most urgent first; answers come back to who asked, in the
    thread of the GUI."""

    answered = Signal(object, object)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._asked: queue.PriorityQueue[tuple[int, int, Any, Any]] = queue.PriorityQueue()
        self._number = itertools.count()
        self._stop = threading.Event()
        self.answered.connect(self._answer, Qt.ConnectionType.QueuedConnection)

    def ask(self, urgency: int, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Call ``work`` in the thread, then ``then`` with what it returned, or the exception that it raised."""
        self._asked.put((urgency, next(self._number), work, then))
        if not self.isRunning():
            self.start(QThread.Priority.LowPriority)

    def check(self) -> None:
        if self._stop.is_set():
            raise _Stopped

    def run(self) -> None:
        while not self._stop.is_set():
            _, _, work, then = self._asked.get()
            try:
                answer = work()
            except Exception as error:
                answer = error
            self.answered.emit(then, answer)

    def _answer(self, then: Callable[[Any], None], answer: Any) -> None:
        if not self._stop.is_set():
            then(answer)

    def shut(self) -> None:
        self._stop.set()
        self._asked.put((-1, -1, lambda: None, None))
        self.wait()


def _image(pixels: Any) -> QImage:
    height, width, _ = pixels.shape
    return QImage(pixels.data, width, height, pixels.strides[0], QImage.Format.Format_RGB888).copy()


# ---- the queue -----------------------------------------------------------------------------------------------------


class Queue(QAbstractListModel):
    """The items in their order, of which one at a time is made; kept in ``folder``, by default the application's.

    Rows have their `Item` as UserRole, and one sentence for all who do not see the list as text.
    """

    said = Signal(str, str, object)  # text, label, action: as a page's ``message``
    progressed = Signal()  # what is known of the whole has changed
    ran_out = Signal(int, int)  # all is done that was started: how many are made, how many failed

    def __init__(self, folder: Path | None = None, parent: QObject | None = None) -> None:
        super().__init__(parent)
        place = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.AppDataLocation)
        self._memory = Memory(folder or Path(place))
        self.items: list[Item] = []
        self.defaults = Settings()
        self.started = False  # whether the next item begins when one has ended
        self._run: _Run | None = None
        self._batch: list[Item] = []  # what the whole is: all that is, or was, to do since it was started
        self._made, self._spent_s = 0.0, 0.0  # pixels and seconds of what has ended since then
        self._aside = _Aside(self)
        self._wrong = {Settings(): ""}
        self._shut = False
        self._keeping = QTimer(self, singleShot=True, interval=0)
        self._keeping.timeout.connect(self._keep)
        self._recording = QTimer(self, interval=_SAVE_MS)
        self._recording.timeout.connect(self._keep)

    # -- what views ask --

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self.items)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid():
            return None
        item = self.items[index.row()]
        if role == Qt.ItemDataRole.UserRole:
            return item
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole):
            return self.sentence(item)
        if role == Qt.ItemDataRole.ToolTipRole:
            return "\n".join(filter(None, [shown(str(item.path)), item.why or item.trouble]))
        return None

    def flags(self, index: Index) -> Qt.ItemFlag:
        flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        return flags | Qt.ItemFlag.ItemIsDragEnabled if index.isValid() else flags | Qt.ItemFlag.ItemIsDropEnabled

    def sentence(self, item: Item) -> str:
        words = [item.name, self.state_name(item)]
        if item.becomes:
            words.append("{} × {}".format(*item.becomes))
        if item.state is State.RUNNING and item.share is not None:
            words.append(f"{item.share:.0%}")
        return ", ".join([*words, *filter(None, [item.why])])

    def state_name(self, item: Item) -> str:
        if item.stopping:
            return self.tr("Stopping")
        return {
            State.WAITING: self.tr("Waiting"), State.RUNNING: self.tr("Running"), State.PAUSED: self.tr("Paused"),
            State.DONE: self.tr("Done"), State.SKIPPED: self.tr("Skipped"), State.FAILED: self.tr("Failed"),
            State.CANCELLED: self.tr("Cancelled"), State.CUT_OFF: self.tr("Cut off"),
        }[item.state]  # fmt: skip

    def supportedDropActions(self) -> Qt.DropAction:
        return Qt.DropAction.MoveAction | Qt.DropAction.CopyAction

    def mimeTypes(self) -> list[str]:
        return [_ITEMS, "text/uri-list"]

    def mimeData(self, indexes: Sequence[QModelIndex]) -> QMimeData:
        data = QMimeData()
        data.setData(_ITEMS, QByteArray(b"1"))
        return data

    # What is dropped is the view's to take: it knows where it lies, and that files are not to be moved.
    def canDropMimeData(
        self, data: QMimeData, action: Qt.DropAction, row: int, column: int, parent: Index
    ) -> bool:
        return data.hasFormat(_ITEMS) or data.hasUrls()

    def moveRows(
        self, source: Index, row: int, count: int, target: Index, place: int
    ) -> bool:
        if not self.beginMoveRows(source, row, row + count - 1, target, place):
            return False
        moved = self.items[row:row + count]
        del self.items[row:row + count]
        place -= count if place > row else 0
        self.items[place:place] = moved
        self.endMoveRows()
        self._changed()
        return True

    # -- what is in it --

    def add(self, paths: Iterable[Path], row: int | None = None, settings: Settings | None = None) -> None:
        """Files, and what counts in folders, with the settings for new items or these. What waits already does so
        once, or once with these."""
        for path in paths:
            path = Path(os.path.abspath(path))
            if os.path.isdir(path):
                self._aside.ask(0, partial(vsr.media_in, path), partial(self._add_found, path, row, settings))
            else:
                row = self._add([path], row, settings)

    def _add_found(self, folder: Path, row: int | None, settings: Settings | None, found: Any) -> None:
        name = brief(folder.name)
        if isinstance(found, Exception):
            self.said.emit(self.tr("The folder {} cannot be read: {}").format(name, reason(found)), "", None)
        elif not found:
            self.said.emit(self.tr("There is no video or picture in the folder {}.").format(name), "", None)
        else:
            self._add(found, row, settings)

    def _add(self, paths: Sequence[Path], row: int | None, settings: Settings | None) -> int | None:
        there = {item.path for item in self.items
                 if item.state not in ENDED and (settings is None or item.settings == settings)}
        new = [Item(path, settings or self.defaults) for path in paths if path not in there]
        if known := len(paths) - len(new):
            first = brief(next(path.name for path in paths if path in there))
            text = self.tr("{} is in the queue already.").format(first) if known == 1 else (
                self.tr("{} files are in the queue already.").format(known))
            self.said.emit(text, "", None)
        self._insert(new, row)
        return None if row is None else row + len(new)

    def _insert(self, items: Sequence[Item], row: int | None = None) -> None:
        row = len(self.items) if row is None else min(row, len(self.items))
        if not items:
            return
        self.beginInsertRows(QModelIndex(), row, row + len(items) - 1)
        self.items[row:row] = items
        self.endInsertRows()
        for item in items:
            self._look_at(item)
        if self.started:
            self._batch += items
            self._next()
        self._changed()

    def remove(self, items: Iterable[Item]) -> None:
        """Take them out of the list; files stay. One that is being made is cancelled first."""
        for item in list(items):
            if self._run is not None and self._run.item is item:
                item.leaving = True
                self.cancel([item])
            else:
                row = self.items.index(item)
                self.beginRemoveRows(QModelIndex(), row, row)
                del self.items[row]
                self.endRemoveRows()
                self._batch = [other for other in self._batch if other is not item]
        self._changed()

    def duplicate(self, items: Iterable[Item]) -> list[Item]:
        """The same again behind each of them, to be made otherwise."""
        made = []
        for item in list(items):
            copy = Item(item.path, item.settings, look=item.look, before=item.before, problem=item.problem)
            self._insert([copy], self.items.index(item) + 1)
            made.append(copy)
        return made

    def move(self, items: Iterable[Item], step: int) -> None:
        """All of them by one place, up (-1) or down (1), as far as there is one."""
        rows = sorted(map(self.items.index, items), reverse=step > 0)
        end = len(self.items) if step > 0 else -1
        for row in rows:
            if row + step == end:
                end = row
            else:
                self.moveRow(QModelIndex(), row, QModelIndex(), row + (2 if step > 0 else -1))

    def set(self, items: Iterable[Item], **changes: Any) -> None:
        """Change settings of those that are not made: what failed may do better with others."""
        for item in items:
            if self.is_open(item):
                item.settings, item.size, item.codec = replace(item.settings, **changes), None, ""
                self._show(item)
        self._changed()

    def set_defaults(self, settings: Settings) -> None:
        """What new items are made by."""
        self.defaults = settings
        self._changed()

    def wrong(self, settings: Settings) -> str:
        """What is wrong with them; "" until that is known, which ``progressed`` says: encoders are tried for it."""
        if settings not in self._wrong:
            self._wrong[settings] = ""

            def checked(answer: Any) -> None:
                self._wrong[settings] = str(answer)
                if answer:
                    self.progressed.emit()

            self._aside.ask(0, settings.wrong, checked)
        return self._wrong[settings]

    def is_running(self, item: Item) -> bool:
        """Whether it is being made, or stands still meanwhile."""
        return self._run is not None and self._run.item is item

    def is_open(self, item: Item) -> bool:
        """Whether it can still be made otherwise."""
        return item.state is not State.DONE and not self.is_running(item)

    # -- work --

    @property
    def running(self) -> Item | None:
        return self._run.item if self._run else None

    @property
    def paused(self) -> bool:
        return self._run is not None and self._run.pause.is_set()

    def start(self) -> None:
        """Make all that waits, one after another; goes on where it was paused."""
        if self._run is not None and not self._run.item.stopping:
            self._run.pause.clear()
            self._run.item.state = State.RUNNING
            self._show(self._run.item)
        if not self.started and self._run is None:
            self._batch = []
            self._made = self._spent_s = 0.0
        self.started = True
        self._batch += [item for item in self.items if item.state in TO_DO and item not in self._batch]
        self._next()
        self._changed()

    def pause(self) -> None:
        """What is being made stands still, and keeps its place."""
        if self._run is None or self._run.item.stopping:
            return
        self._run.pause.set()
        self._run.item.state = State.PAUSED
        self._show(self._run.item)
        self._changed()

    def hold(self, items: Iterable[Item]) -> None:
        """Leave them out until they are released; what is being made pauses."""
        for item in items:
            if self.is_running(item):
                self.pause()
            elif item.state in TO_DO:
                item.state = State.PAUSED
                self._show(item)
        self._changed()

    def release(self, items: Iterable[Item]) -> None:
        for item in items:
            if self.is_running(item):
                self.start()
            elif item.state is State.PAUSED:
                item.state = State.WAITING
                self._show(item)
        self._wake()

    def cancel(self, items: Iterable[Item]) -> None:
        """Those that wait are not made; one that is being made ends, and leaves nothing behind."""
        for item in items:
            if self._run is not None and self._run.item is item:
                item.stopping = True
                self._run.cancel.set()
            elif item.state in TO_DO or item.state is State.PAUSED:
                item.state = State.CANCELLED
                item.note(self.tr("Cancelled."))
            self._show(item)
        self._changed()

    def cancel_all(self) -> None:
        self.started = False
        self.cancel(self.items)

    def retry(self, items: Iterable[Item]) -> None:
        """Make those again that have ended, however that was."""
        for item in items:
            if item.state in ENDED:
                item.begin_again()
                item.note(self.tr("To be made again."))
                item.look = None  # the source may be another by now
                self._look_at(item)
                self._show(item)
                if item not in self._batch:
                    self._batch.append(item)
        self._wake()

    def _wake(self) -> None:
        if self.started:
            self._next()
        self._changed()

    def _next(self) -> None:
        if self._run is not None or self._shut:
            return
        item = next((item for item in self.items if item.state in TO_DO), None)
        if item is None:
            if self.started:
                self.started = False
                ended = [item.state for item in self._batch]
                self.ran_out.emit(ended.count(State.DONE) + ended.count(State.SKIPPED), ended.count(State.FAILED))
            return
        taken = {other.path for other in self.items}
        taken |= {other.output for other in self.items if other.output and other.path != item.path}
        item.begin_again()
        item.state = State.RUNNING
        item.note(self.tr("Started: {}").format(item.path))
        self._run = _Run(item, taken - {item.path}, self)
        self._run.told.connect(self._told)
        self._run.finished.connect(self._finished)
        self._run.start()
        self._recording.start()
        self._show(item)

    def _told(self, event: vsr.Event) -> None:
        item = self.running
        if item is None:
            return
        if isinstance(event, vsr.Started):
            item.output, item.size, item.codec = event.output, (event.width, event.height), event.codec
            item.frames = event.frames
            item.note(self.tr("{} × {}, {} ×{}, {} {}, {}").format(
                event.width, event.height, event.model, event.scale, event.engine, event.precision, event.codec))
            if event.estimate:
                item.eta_s = event.estimate.seconds
                item.note(self.tr("About {} and {:.0f} MB").format(
                    duration(event.estimate.seconds), event.estimate.bytes / 1e6))
            self._changed()
        elif isinstance(event, vsr.Progress):
            item.frame, item.frames, item.fps, item.eta_s = event.frame, event.frames, event.fps, event.eta_s
        elif isinstance(event, vsr.Warned):
            item.note(event.message)
            if event.code == "skipped":
                item.why = event.message
        self._show(item)
        self.progressed.emit()

    def _finished(self) -> None:
        run, self._run = self._run, None
        if run is None:  # it ended while the queue was shut
            return
        run.wait()
        run.deleteLater()
        self._recording.stop()
        item, done = run.item, run.done
        item.stopping, item.eta_s = False, None
        if done is not None:
            item.state, item.output, item.frame, item.frames = State.DONE, done.output, done.frames, done.frames
            item.seconds, item.checks = done.seconds, [check.to_json() for check in done.checks]
            item.fps = done.frames / max(done.seconds, 1e-9)
            self._made, self._spent_s = self._made + (item.effort or 0), self._spent_s + done.seconds
            item.note(self.tr("Done: {}").format(done.output))
            self._look_at_result(item)
        elif run.error is None:
            item.state = State.SKIPPED
        elif isinstance(run.error, vsr.Cancelled) and self._shut:
            self._cut_off(item)
        elif isinstance(run.error, vsr.Cancelled):
            item.state, item.output = State.CANCELLED, None
            item.note(self.tr("Cancelled; nothing is left behind."))
        else:
            item.state, item.why, item.output = State.FAILED, shown(str(run.error)), None
            item.note(self.tr("Failed: {}").format(item.why))
        if item.leaving:
            self.remove([item])
        else:
            self._show(item)
        self._wake()

    def _cut_off(self, item: Item) -> None:
        item.state, item.stopping = State.CUT_OFF, False
        of = f"{item.frame}" if item.frames is None else f"{item.frame} / {item.frames}"
        item.why = self.tr("VSR ended at frame {}; it starts again from its beginning").format(of)
        item.note(item.why)

    # -- the whole --

    @property
    def to_do(self) -> int:
        """How many are not made yet, the one at work among them."""
        return sum(item.state in TO_DO or self.is_running(item) for item in self.items)

    @property
    def share(self) -> float | None:
        """How much of what was started is done, 0 to 1; None where nothing was."""
        batch = [item for item in self._batch if item.state is not State.CANCELLED]
        if not batch:
            return None
        efforts = [item.effort for item in batch]
        known = [effort for effort in efforts if effort]
        usual = sum(known) / len(known) if known else 1.0
        weights = [effort or usual for effort in efforts]
        shares = [1.0 if item.state in ENDED else item.share or 0.0 for item in batch]
        return sum(w * s for w, s in zip(weights, shares, strict=True)) / sum(weights)

    @property
    def eta_s(self) -> float | None:
        """How long all takes that is to do, by how fast it went so far; None where that cannot be said."""
        item = self.running
        if item is None or item.eta_s is None:
            return None
        made, spent_s = self._made, self._spent_s
        if item.fps and item.becomes:
            now = item.frame * math.prod(item.becomes)
            made, spent_s = made + now, spent_s + item.frame / item.fps
        waiting = [other.effort for other in self.items if other.state in TO_DO]
        if None in waiting or (waiting and not made):
            return None
        return item.eta_s + (sum(filter(None, waiting)) * spent_s / made if waiting else 0)

    # -- looks at files --

    def _look_at(self, item: Item) -> None:
        if item.look is not None:
            return

        def seen(answer: Any) -> None:
            if isinstance(answer, Exception):
                item.problem = reason(answer)
            else:
                item.look, item.before, item.problem = answer[0], answer[1], ""
            self._show(item)
            self.progressed.emit()
            if item.state is State.DONE:
                self._look_at_result(item)

        self._aside.ask(2, lambda: self._seen(item.path, None), seen)

    def _look_at_result(self, item: Item) -> None:
        """At the same moment as at the source."""
        if item.look is None or item.output is None:
            return
        output, at = item.output, item.look.at

        def seen(answer: Any) -> None:
            if not isinstance(answer, Exception) and item.output == output:
                item.after = answer[1]
                self._show(item)

        self._aside.ask(1, lambda: self._seen(output, at), seen)

    def _seen(self, path: Path, at: Fraction | None) -> tuple[vsr.Look, QImage]:
        look = vsr.look(path, THUMBNAIL, at, self._aside.check)
        return replace(look, thumbnail=look.thumbnail[:0]), _image(look.thumbnail)

    def _show(self, item: Item) -> None:
        with contextlib.suppress(ValueError):  # it was removed meanwhile
            index = self.index(self.items.index(item))
            self.dataChanged.emit(index, index)

    # -- remembering --

    def restore(self) -> None:
        """Take up what was remembered. An item that was being made was cut off; a damaged file is kept aside."""
        if not self._memory.open():
            self.said.emit(self.tr("Another window has the queue; what is added here is not remembered."), "", None)
            return
        self.defaults, items, aside = self._memory.read()
        if aside is not None:
            text = self.tr("The queue that was remembered is damaged; it is kept as {}.")
            self.said.emit(text.format(shown(str(aside))), "", None)
        for item in items:
            if item.state is State.RUNNING:
                self._cut_off(item)
        self._insert(items)
        cut_off = [item for item in items if item.state is State.CUT_OFF]
        for item in cut_off:
            if item.output is not None:
                self._sweep(item, item.output, time.time())
        if cut_off:
            text = self.tr("{} was cut off when VSR ended; it starts again from its beginning.")
            if len(cut_off) > 1:
                text = self.tr("{} and others were cut off when VSR ended; they start again from their beginning.")
            self.said.emit(text.format(brief(cut_off[0].path.name)), self.tr("Start"), self.start)

    def _sweep(self, item: Item, output: Path, before: float) -> None:
        """Remove what a job that was cut off left of ``output``, and nobody wrote to since."""

        def swept() -> int:
            old = [path for path in vsr.leftovers(output) if path.stat().st_mtime < before - 1]
            for path in old:
                path.unlink()
            return len(old)

        def told(answer: Any) -> None:
            if answer and not isinstance(answer, Exception):
                item.note(self.tr("What was left of it is removed."))
                self._show(item)

        self._aside.ask(0, swept, told)

    def _changed(self) -> None:
        self.progressed.emit()
        if not self._shut:
            self._keeping.start()

    def _keep(self) -> None:
        if why := self._memory.write(self.defaults, self.items, self.running):
            self.said.emit(self.tr("The queue cannot be remembered: {}").format(why), "", None)

    def shut(self) -> None:
        """End what runs, leaving nothing half-written, join the threads, and write all down. For good."""
        if self._shut:
            return
        self._shut = True
        self.started = False
        if self._run is not None:
            self._run.told.disconnect()
            self._run.finished.disconnect()
            self._run.cancel.set()
            self._finished()
        self._aside.shut()
        self._keeping.stop()
        self._keep()
        self._memory.close()


def local_paths(data: QMimeData) -> list[Path]:
    """The files and folders that are dropped or pasted."""
    return [Path(url.toLocalFile()) for url in data.urls() if url.isLocalFile()]
