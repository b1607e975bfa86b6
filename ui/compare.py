"""The Compare page: a video that plays with both sides, and what can be done with it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PySide6.QtCore import QPointF, QSettings, QStandardPaths, Qt, QTimer, Signal
from PySide6.QtGui import QImage, QKeyEvent, QTransform
from PySide6.QtWidgets import (
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QLabel,
    QMenu,
    QProgressBar,
    QPushButton,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

import vsr
from ui import files, theme
from ui.bridge import Bridge, Export, Glances, Wish
from ui.canvas import Canvas, Mode, Shape
from ui.inspector import Inspector
from ui.items import brief, plain, shown
from ui.models import DEFAULT, field_name
from ui.transport import SPEEDS, Bubble, Transport
from ui.views import FullScreen

_RECENT = 8
_METER_MS = 250
_JUMP_S = 5
_FAR_S = 10**6  # later than any end
_OF_OUTPUTS = {"dynamic_hdr", "moved", "late_stream", "dropped_stream"}  # what is said of files that are written
_NUDGE = 0.01  # of the canvas's width, for the split by keys
_PAN = 64  # logical pixels by a key
_Key = Qt.Key


class Command(NamedTuple):
    """What a key does; ``shown`` is how the help sheet writes the key, None where another row has it already."""

    shown: str | None
    text: str
    does: Callable[[], object]


class ComparePage(QWidget):
    """See `ui.window.Window` for what a page is. ``gpu`` is the canvas's."""

    message = Signal(str, str, object)
    go = Signal(str, list)
    icon_name = "compare"

    def __init__(self, gpu: bool | None = None) -> None:
        super().__init__()
        self.title = self.tr("Compare")
        self.setAcceptDrops(False)  # the window takes them
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.canvas, self.transport, self.inspector = Canvas(gpu), Transport(), Inspector()
        self.bridge = Bridge(self)
        self._recent: list[str] = []
        self._folder = ""
        self._path: Path | None = None
        self._is_still = False  # whether it is a picture
        self._reference: Path | None = None
        self._result: Path | None = None  # what was made of the video, in the model's place
        self._truth = ""
        self._shown: vsr.Shown | None = None
        self._loop: tuple[Fraction | None, Fraction | None] = None, None
        self._looping = False
        self._play_when_open = True
        self._export: Export | None = None
        self._empty = self._first_run()
        self._middle = QStackedWidget()
        self._middle.addWidget(self._empty)
        self._middle.addWidget(self.canvas)
        self._exporting = self._export_row()
        self._bubble, self._glances = Bubble(self), Glances(self)
        self.setFocusProxy(self.canvas)
        left = QVBoxLayout(spacing=0)
        for widget, stretch in ((self._middle, 1), (self._exporting, 0), (self.transport, 0)):
            left.addWidget(widget, stretch)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        row.addLayout(left, 1)
        row.addWidget(self.inspector)
        self._full = FullScreen(self, left, self.canvas, self.transport, self.inspector,
                                self.transport.bar.isSliderDown)
        self._commands = self._bind()
        self._connect()
        self._meter = QTimer(self, interval=_METER_MS)
        self._meter.timeout.connect(self._tick)
        QTimer.singleShot(0, self.inspector.fill)

    def _connect(self) -> None:
        bridge, transport, inspector, canvas = self.bridge, self.transport, self.inspector, self.canvas
        bridge.opened.connect(self._opened)
        bridge.failed.connect(self._failed)
        bridge.arrived.connect(self._take)
        transport.play.connect(self.toggle_playing)
        transport.step.connect(self.step)
        transport.loop.connect(self.set_looping)
        transport.full.connect(lambda: self.window().toggle_full_screen())  # type: ignore[attr-defined]
        transport.sounded.connect(self._hear)
        transport.sped.connect(self._set_speed)
        transport.bar.sought.connect(self.seek)
        transport.bar.pointed.connect(self._point)
        inspector.chosen.connect(self._choose)
        inspector.moded.connect(lambda mode: self.set_mode(Mode(mode)))
        inspector.louped.connect(self.toggle_loupe)
        inspector.truth.connect(self._set_truth)
        inspector.make.connect(self.make)
        inspector.save.connect(self.save_frame)
        inspector.export.connect(self.ask_for_export)
        inspector.open.connect(self.ask_for_files)
        self._glances.made.connect(self._glanced)
        canvas.wants.connect(self._look)
        canvas.drawn.connect(self._drawn)

    def _first_run(self) -> QWidget:
        """What is to be seen before there is a video."""
        page = QWidget(objectName="first")
        page.setAutoFillBackground(True)
        palette = page.palette()
        palette.setColor(page.backgroundRole(), theme.CANVAS)
        page.setPalette(palette)
        column = QVBoxLayout(page)
        column.setSpacing(2 * theme.UNIT)
        column.addStretch()
        said = QLabel(self.tr("Drop a video here, or open one"), alignment=Qt.AlignmentFlag.AlignCenter)
        said.setStyleSheet("color: #e8e8ea; font-size: 18px")
        column.addWidget(said)
        row = QHBoxLayout(spacing=theme.UNIT)
        row.addStretch()
        camera = self.tr("Start the camera")
        for text, tip, does, style in (
            (self.tr("Open…"), self.tr("Choose a video or a picture"), partial(self.ask_for_files), "main"),
            (self.tr("Try the sample"), self.tr("Play the clip that comes with VSR"), partial(self._open_sample), ""),
            (camera, self.tr("Go to Live"), partial(self.go.emit, "live", []), ""),
        ):
            button = QPushButton(text, objectName=style)
            theme.name(button, text.rstrip("…"), tip)
            button.clicked.connect(lambda _, does=does: does())
            if text != camera or importlib.util.find_spec("ui.live"):
                row.addWidget(button)
        row.addStretch()
        column.addLayout(row)
        self._recent_links = QVBoxLayout(spacing=0)
        column.addLayout(self._recent_links)
        column.addStretch()
        return page

    def _export_row(self) -> QWidget:
        row = QFrame(objectName="foot")
        row.setFixedHeight(5 * theme.UNIT)
        layout = QHBoxLayout(row)
        layout.setContentsMargins(2 * theme.UNIT, 0, theme.UNIT, 0)
        self._export_name, self._export_said = theme.Elided(), QLabel(objectName="quiet")
        self._export_bar = QProgressBar(textVisible=False, maximum=1000)
        self._export_bar.setMinimumWidth(6 * theme.UNIT)
        theme.name(self._export_bar, self.tr("Progress of the export"))
        theme.numbers(self._export_said)
        cancel = QPushButton(self.tr("Cancel"))
        theme.name(cancel, self.tr("Cancel"), self.tr("Stop the export; nothing is left of it"))
        cancel.clicked.connect(self._cancel_export)
        for widget, stretch in ((self._export_name, 0), (self._export_bar, 1), (self._export_said, 0), (cancel, 0)):
            layout.addWidget(widget, stretch)
        row.hide()
        return row

    # ---- keys ------------------------------------------------------------------------------------------------------

    def _bind(self) -> dict[tuple[int, bool], Command]:
        """By key and whether Shift is held."""
        canvas = self.canvas
        return {
            (_Key.Key_Space, False): Command(self.tr("Space"), self.tr("Play, pause"), self.toggle_playing),
            (_Key.Key_Left, False): Command("← →", self.tr("A frame back, on"), lambda: self.step(-1)),
            (_Key.Key_Right, False): Command(None, "", lambda: self.step(1)),
            (_Key.Key_J, False): Command("J K L", self.tr("Back, pause, play and faster"), lambda: self._shuttle(-1)),
            (_Key.Key_K, False): Command(None, "", lambda: self._shuttle(0)),
            (_Key.Key_L, False): Command(None, "", lambda: self._shuttle(1)),
            (_Key.Key_Home, False): Command(self.tr("Home End"), self.tr("To the beginning, to the end"),
                                            lambda: self.seek(0)),
            (_Key.Key_End, False): Command(None, "", self._seek_end),
            (_Key.Key_I, False): Command("I O", self.tr("The loop begins, ends here"), lambda: self._mark(0)),
            (_Key.Key_O, False): Command(None, "", lambda: self._mark(1)),
            (_Key.Key_R, False): Command("R", self.tr("Loop, or no longer"),
                                         lambda: self.set_looping(not self._looping)),
            (_Key.Key_S, False): Command("S", self.tr("Split"), lambda: self.set_mode(Mode.SPLIT)),
            (_Key.Key_T, False): Command("T", self.tr("Side by side"), lambda: self.set_mode(Mode.SIDE)),
            (_Key.Key_A, False): Command("A", self.tr("A/B: the one, the other"), self.flip),
            (_Key.Key_D, False): Command("D", self.tr("Difference ×8"), lambda: self.set_mode(Mode.DIFFERENCE)),
            (_Key.Key_B, False): Command("B", self.tr("Bicubic while it is held"), lambda: canvas.peek(True)),
            (_Key.Key_G, False): Command("G", self.tr("Magnifier"), self.toggle_loupe),
            (_Key.Key_Comma, False): Command(", .", self.tr("The split to the left, right"), lambda: self._nudge(-1)),
            (_Key.Key_Period, False): Command(None, "", lambda: self._nudge(1)),
            (_Key.Key_Plus, False): Command("+ -", self.tr("Larger, smaller"), lambda: canvas.zoom(1.25)),
            (_Key.Key_Equal, False): Command(None, "", lambda: canvas.zoom(1.25)),
            (_Key.Key_Minus, False): Command(None, "", lambda: canvas.zoom(0.8)),
            (_Key.Key_Z, False): Command("Z", self.tr("1:1"), canvas.one_to_one),
            (_Key.Key_X, False): Command("X", self.tr("Fit"), canvas.fit),
            (_Key.Key_Left, True): Command(self.tr("Shift + arrows"), self.tr("Move the picture"),
                                           lambda: self._pan(1, 0)),
            (_Key.Key_Right, True): Command(None, "", lambda: self._pan(-1, 0)),
            (_Key.Key_Up, True): Command(None, "", lambda: self._pan(0, 1)),
            (_Key.Key_Down, True): Command(None, "", lambda: self._pan(0, -1)),
            (_Key.Key_Up, False): Command("↑ ↓", self.tr("Louder, quieter"), lambda: self._louder(5)),
            (_Key.Key_Down, False): Command(None, "", lambda: self._louder(-5)),
            (_Key.Key_M, False): Command("M", self.tr("Sound on, off"), self.transport.mute.toggle),
            (_Key.Key_U, False): Command("U", self.tr("Upscale in the queue"), self.make),
            (_Key.Key_P, False): Command("P", self.tr("Save frame"), self.save_frame),
            (_Key.Key_E, False): Command("E", self.tr("Export comparison"), self.ask_for_export),
            (_Key.Key_H, False): Command("H", self.tr("Hide, show the panel"), self._toggle_panel),
        }

    def keys(self) -> list[tuple[str, str]]:
        return [(command.shown, command.text) for command in self._commands.values() if command.shown]

    def keyPressEvent(self, event: QKeyEvent) -> None:
        shift = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        command = self._commands.get((event.key(), shift)) or (
            self._commands.get((event.key(), False)) if event.key() in (_Key.Key_Plus, _Key.Key_Minus) else None)
        held = event.modifiers() & (Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier)
        if command is None or held:
            super().keyPressEvent(event)
        elif self._path is not None and not (event.isAutoRepeat() and event.key() in (_Key.Key_Space, _Key.Key_A)):
            command.does()

    def keyReleaseEvent(self, event: QKeyEvent) -> None:
        if event.key() == _Key.Key_B and not event.isAutoRepeat():
            self.canvas.peek(False)
        else:
            super().keyReleaseEvent(event)

    # ---- opening ---------------------------------------------------------------------------------------------------

    def open(self, paths: list[Path], play: bool = True) -> None:
        """Open the first; several are rather for the queue, which is offered."""
        if not (videos := [path for path in paths if not path.is_dir()]):
            said = self.tr("{0} is a folder; the queue makes all that is in it.").format(brief(paths[0].name))
            self.message.emit(said, self.tr("Queue it"), lambda: self.go.emit("queue", paths))
            return
        path, self._result = videos[0], None
        if path != self._path:
            self._reference, self._truth = None, self._truth if self._truth == "restore" else ""
            self.inspector.choose(truth=self._truth)
        self._begin(path, play)
        if len(paths) > 1:
            said = self.tr("{0} files: the first is open here.").format(len(paths))
            self.message.emit(said, self.tr("Queue them all"), lambda: self.go.emit("queue", paths))

    def open_result(self, path: Path, result: Path) -> None:
        """Play ``path`` with what was made of it, as it is in its file, in the model's place."""
        self._reference, self._truth, self._result = None, "", result
        self.inspector.choose(truth="")
        self._begin(path, True)

    def _begin(self, path: Path, play: bool) -> None:
        self._path, self._play_when_open = path, play
        self._loop, self._looping, self._shown = (None, None), False, None
        self.canvas.clear()
        self.canvas.hint = self.tr("Opening {0}…").format(brief(path.name))
        self._middle.setCurrentWidget(self.canvas)
        self.setWindowTitle(shown(path.name))
        self._open_player()
        self.canvas.setFocus()

    def _open_player(self) -> None:
        assert self._path is not None
        self.transport.set_open(None, False)
        self.bridge.open(self._path, choice=self.inspector.choice, restore=self._truth == "restore",
                         reference=self._reference if self._truth == "reference" else None, result=self._result,
                         view=self.canvas.view(), early=True)

    def _opened(self) -> None:
        player, path = self.bridge.player, self._path
        assert player is not None and path is not None
        duration = float(player.duration_s) if player.duration_s else None
        info, self._is_still = player.info, vsr.still_format(path) is not None
        self.transport.set_open(duration, player.has_sound, not self._is_still)
        size = (info.width, info.height)[:: -1 if player.orientation > 4 else 1]
        rate = f", {float(info.rate):.5g} fps" if info.rate and not self._is_still else ""
        self.inspector.show_file(shown(path.name), "{}×{}".format(*size) + f"{rate}, {info.codec}")
        self._remember(path)
        player.speed = self.transport.speed.currentData()
        self._look()
        self._meter.start()
        if self._play_when_open:
            player.play()
        self._hear()

    def _failed(self, why: str) -> None:
        why = self._briefly(why)
        if self._path is not None and self._result is not None:
            result = self._result
            self.message.emit(why, self.tr("Open the result alone"), lambda: self.open([result]))
            self.open([self._path])
            return
        if self._path is not None and self._truth == "reference":  # rather without it than not at all
            self.message.emit(why, self.tr("Another reference…"), lambda: self._set_truth("reference"))
            self.measure("")
            self._open_player()
            return
        self._path = None
        self.inspector.show_file("", "")
        self._meter.stop()
        self.setWindowTitle("")
        self._middle.setCurrentWidget(self._empty)
        self.message.emit(why, self.tr("Open another…"), self.ask_for_files)

    def _briefly(self, said: str) -> str:
        """With the file's name in the place of its path."""
        return plain(shown(said if self._path is None else said.replace(str(self._path), brief(self._path.name))))

    def ask_for_files(self) -> None:
        files.ask(self, self.tr("Open a video"), self._folder, self.open)

    def _open_sample(self) -> None:
        self.open([vsr.assets_dir() / "sample.mp4"])

    def _remember(self, path: Path) -> None:
        self._folder = str(path.parent)
        name = str(path.resolve())
        self._recent = [name, *(each for each in self._recent if each != name)][:_RECENT]
        self._show_recent()

    def _show_recent(self) -> None:
        menu = QMenu(self)
        while (item := self._recent_links.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.deleteLater()
        for name in self._recent:
            path = Path(name)
            again = partial(self.open, [path])
            menu.addAction(brief(path.name), again).setToolTip(shown(name))
            link = QPushButton(brief(path.name), objectName="link")
            theme.name(link, shown(path.name), shown(name))
            link.clicked.connect(lambda _, again=again: again())
            self._recent_links.addWidget(link, alignment=Qt.AlignmentFlag.AlignCenter)
        menu.setToolTipsVisible(True)
        old = self.inspector.opener.menu()
        self.inspector.opener.setMenu(menu)
        if old is not None:
            old.deleteLater()

    # ---- what is shown ---------------------------------------------------------------------------------------------

    def _take(self) -> None:
        """A newer frame, or a message, may be there."""
        player = self.bridge.player
        if player is None:
            return
        frame = player.take()
        self._tell(player)
        if frame is None:
            return
        self._shown = frame
        choice, info = frame.choice, player.info
        scale, model = choice.scale, choice.model
        name = field_name(model if isinstance(model, str) else model.name)
        how = f"{frame.engine} {frame.precision}" if frame.engine else self.tr("not there")
        if frame.is_early:
            how = self.tr("being prepared, bicubic until then")
        said = f"{name} ×{scale} · {how}"
        if self._result is not None:
            said = self.tr("Result · {0}").format(brief(self._result.name))
        self.canvas.labels = "Bicubic", said
        shape = Shape(frame.source.width, frame.source.height, scale, player.orientation,
                      info.sample_aspect or Fraction(1))
        self.canvas.show_frame(shape, frame.painted)
        self.transport.show_time(float(frame.time))
        if frame.scores is not None or not self._truth:
            self.inspector.show_scores(frame.scores, bool(self._truth))

    def _look(self) -> None:
        """Something else is looked at, or in another way."""
        player, wish = self.bridge.player, Wish(self.canvas.mode is Mode.DIFFERENCE, self.canvas.shrink)
        changed, self.bridge.wish = wish != self.bridge.wish, wish
        if player is not None:
            player.view = self.canvas.view()
            if changed:
                player.redraw()

    def _drawn(self, ms: float) -> None:
        if self.bridge.player is not None:
            self.bridge.player.told(ms)

    def _tick(self) -> None:
        player = self.bridge.player
        if player is not None:
            self._take()
            if self._looping and player.ended:  # where nobody knew the end, and so the player does not loop
                player.seek(self._loop[0] or 0)
                player.play()
            self.transport.show_playing(player.playing)
            meter = player.meter()
            self.inspector.show_meter(replace(meter, video_fps=None) if self._is_still else meter, player.playing)

    def _tell(self, player: vsr.Player) -> None:
        saved: list[Path] = []
        while player.messages:
            code, text = player.messages.popleft()
            if code == "saved":
                saved.append(Path(text))
            elif code not in _OF_OUTPUTS:
                self.message.emit(self._briefly(text), "", None)
        if saved:
            names = ", ".join(brief(path.name) for path in saved)
            self.message.emit(self.tr("Saved {0}").format(names), self.tr("Show in folder"),
                              partial(files.show, saved[-1], self))

    # ---- playing ---------------------------------------------------------------------------------------------------

    def toggle_playing(self) -> None:
        player = self.bridge.player
        if player is not None:
            player.pause() if player.playing else player.play()
            self._played()

    def _played(self) -> None:
        self._hear()
        self._tick()

    def step(self, frames: int) -> None:
        if self.bridge.player is not None:
            self.bridge.player.step(frames)
            self._played()

    def seek(self, seconds: float) -> None:
        if self.bridge.player is not None:
            self.bridge.player.seek(seconds)

    def _seek_end(self) -> None:
        if self.bridge.player is not None:
            self.bridge.player.seek(self.transport.bar.duration if self.bridge.player.duration_s else _FAR_S)

    def _shuttle(self, way: int) -> None:
        player, speeds = self.bridge.player, self.transport.speed
        if player is None:
            return
        if way < 0:
            player.seek(max(0, float(player.position) - _JUMP_S))
        elif way == 0:
            player.pause()
            speeds.setCurrentIndex(SPEEDS.index(1.0))
        elif player.playing:
            speeds.setCurrentIndex(min(speeds.currentIndex() + 1, speeds.count() - 1))
        else:
            player.play()
        self._played()

    def _set_speed(self, speed: float) -> None:
        if self.bridge.player is not None:
            self.bridge.player.speed = speed

    def _mark(self, which: int) -> None:
        """The loop begins or ends at the frame that is shown."""
        if self.bridge.player is None:
            return
        marks = list(self._loop)
        marks[which] = self.bridge.player.position
        begin, end = marks
        if begin is not None and end is not None and end <= begin:
            marks[1 - which] = None
        self._loop = marks[0], marks[1]
        self.set_looping(True)

    def set_looping(self, on: bool) -> None:
        player = self.bridge.player
        if player is None:
            return
        self._looping = on
        if not on:
            self._loop = None, None
        begin, end = self._loop
        last = end if end is not None else Fraction(player.duration_s or 0)
        on = on and last > (begin or 0)
        player.set_loop((begin or 0, last) if on else None)
        self.transport.show_loop(self._looping, *(None if mark is None else float(mark) for mark in self._loop))

    def _louder(self, by: int) -> None:
        self.transport.volume.setValue(self.transport.volume.value() + by)

    def _hear(self) -> None:
        player = self.bridge.player
        self.bridge.hear(player is not None and player.playing, self.transport.loudness)

    def _point(self, seconds: float, x: float) -> None:
        if seconds < 0:
            self._bubble.hide()
        else:
            bar = self.transport.bar
            if self._path is not None:
                self._glances.glance(self._path, seconds)
            self._bubble.point(seconds, QPointF(bar.mapTo(self, bar.rect().topLeft())) + QPointF(x, 0))

    def _glanced(self, pixels: np.ndarray, orientation: int) -> None:
        height, width = pixels.shape[:2]
        picture = QImage(pixels.data, width, height, pixels.strides[0], QImage.Format.Format_RGB32)
        upright = Shape(width, height, 1, orientation).to_unit() * QTransform.fromScale(width, height)
        self._bubble.picture(picture.transformed(upright))

    # ---- views and choices -----------------------------------------------------------------------------------------

    def set_mode(self, mode: Mode) -> None:
        self.canvas.mode = mode
        self.inspector.show_mode(mode)

    def flip(self) -> None:
        self.canvas.flip()
        self.inspector.show_mode(Mode.FLICKER)

    def toggle_loupe(self) -> None:
        self.canvas.loupe = not self.canvas.loupe
        self.inspector.loupe.setChecked(self.canvas.loupe)

    def _nudge(self, way: int) -> None:
        self.canvas.split += way * _NUDGE

    def _pan(self, x: int, y: int) -> None:
        self.canvas.pan(QPointF(_PAN * x, _PAN * y))

    def _toggle_panel(self) -> None:
        self.inspector.setVisible(not self.inspector.isVisible())

    def _choose(self) -> None:
        if self._result is not None:
            self._leave_result()
        elif self.bridge.player is not None:
            try:
                self.bridge.player.choice = self.inspector.choice
            except vsr.UsageError as error:
                self.message.emit(str(error), "", None)

    def _leave_result(self) -> None:
        """Back to what the model makes now."""
        self._result, self._play_when_open = None, self.bridge.player is not None and self.bridge.player.playing
        if self._path is not None:
            self._open_player()

    def _set_truth(self, truth: str) -> None:
        """Measure against nothing, the video itself or another file."""
        if truth == "reference":
            self.inspector.choose(truth=self._truth)  # until there is one
            files.ask(self, self.tr("The same video, larger"), self._folder,
                      lambda paths: self.measure("reference", paths[0]), QFileDialog.FileMode.ExistingFile)
        else:
            self.measure(truth)

    def measure(self, truth: str, reference: Path | None = None) -> None:
        was, self._truth, self._reference = self._truth, truth, reference
        self.inspector.choose(truth=truth)
        self.inspector.show_scores(None, bool(truth))
        player = self.bridge.player
        if self._result is not None and truth:
            self._leave_result()
            return
        if player is None:
            return
        if "reference" in (was, truth):
            self._play_when_open = player.playing
            self._open_player()
        else:
            player.restore = truth == "restore"

    # ---- outputs ---------------------------------------------------------------------------------------------------

    def make(self) -> None:
        """All of it, as it is looked at; the queue does that."""
        if self._path is not None:
            self.go.emit("make", [self._path, self.inspector.choice])

    def save_frame(self) -> None:
        """Into the pictures' folder; the message shows where."""
        if self.bridge.player is None:
            return
        pictures = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.PicturesLocation)
        folder = Path(pictures or Path.home())
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self.message.emit(self.tr("Nothing can be saved in {0}: {1}").format(folder, error.strerror), "", None)
            return
        self.bridge.player.save_frame(folder)

    def ask_for_export(self) -> None:
        if self._path is None:
            return
        if self._export is not None:
            self.message.emit(self.tr("A comparison is being exported already."), "", None)
            return
        if self._result is not None:
            said = self.tr("A result is shown as it is; choose a model to export a comparison with it.")
            self.message.emit(said, "", None)
            return
        suffix = "png" if vsr.still_format(self._path) else "mp4"
        named = self._path.with_name(f"{self._path.stem}-compared.{suffix}")
        files.ask_where(self, self.tr("Export the comparison as"), named, lambda paths: self.export(paths[0]))

    def export(self, output: Path) -> None:
        """Write what `vsr compare` does: a split where that is looked at, else side by side; the loop alone if any."""
        assert self._path is not None
        choice, (begin, end) = self.inspector.choice, self._loop
        cut = vsr.Cut(begin or Fraction(0), end) if self._looping and not vsr.still_format(self._path) else None
        assert isinstance(choice.model, str)
        job = vsr.Job(self._path, output, choice.scale, model=choice.model, engine=choice.engine, cut=cut,
                      precision=choice.precision, overwrite=True,
                      compare="split" if self.canvas.mode is Mode.SPLIT else "side-by-side")
        self._export_name.setText(self.tr("Exporting {0}").format(shown(output.name)))
        self._export_bar.setRange(0, 0)
        self._export_said.setText("")
        self._exporting.show()
        self._export = Export(self, job)
        self._export.progress.connect(self._exported_so_far)
        self._export.ended.connect(self._exported)

    def _cancel_export(self) -> None:
        if self._export is not None:
            self._export.cancel()

    def _exported_so_far(self, share: float, said: str) -> None:
        self._export_bar.setRange(0, 1000 if share >= 0 else 0)
        self._export_bar.setValue(round(share * 1000))
        self._export_said.setText(said)

    def _exported(self, path: Path | None, error: str) -> None:
        self._exporting.hide()
        self._export = None
        if path is not None:
            self.message.emit(self.tr("{0} is ready").format(brief(path.name)), self.tr("Show in folder"),
                              partial(files.show, path, self))
        elif error:
            self.message.emit(self._briefly(error), self.tr("Export again…"), self.ask_for_export)

    # ---- as a page -------------------------------------------------------------------------------------------------

    def foot(self) -> int:
        shown = [each for each in (self.transport, self._exporting)
                 if each.isVisible() or (self._full.on and each is self.transport)]
        return sum(each.height() for each in shown)

    @property
    def aside(self) -> QWidget:
        return self.inspector

    def bare(self, on: bool) -> None:
        self._full.set(on)

    def busy(self) -> str | None:
        return None if self._export is None else self.tr("A comparison is being exported.")

    def shut(self) -> None:
        self._meter.stop()
        if self._export is not None:
            self._export.shut()
            self._export = None
        self.bridge.shut()
        self._glances.shut()
        self.canvas.shut()

    def save_state(self, settings: QSettings) -> None:
        choice = self.inspector.choice
        for name, value in {
            "recent": self._recent, "folder": self._folder, "model": choice.model, "scale": choice.scale,
            "engine": choice.engine, "precision": choice.precision, "mode": self.canvas.mode.value,
            "split": self.canvas.split, "volume": self.transport.volume.value(),
            "muted": self.transport.mute.isChecked(),
            "panel": self._full.has_aside,
        }.items():  # fmt: skip
            settings.setValue(name, value)

    def restore_state(self, settings: QSettings) -> None:
        recent = settings.value("recent") or []
        recent = [recent] if isinstance(recent, str) else recent
        self._recent = [str(name) for name in recent if Path(str(name)).exists()][:_RECENT]
        self._show_recent()
        self._folder = str(settings.value("folder", ""))
        self.inspector.choose(model=settings.value("model", DEFAULT), scale=int(settings.value("scale", 2)),
                              engine=settings.value("engine", "auto"), precision=settings.value("precision", "auto"))
        mode = str(settings.value("mode", Mode.SPLIT))
        self.set_mode(Mode(mode) if mode in tuple(Mode) else Mode.SPLIT)
        self.canvas.split = float(str(settings.value("split", 0.5)))
        self.transport.volume.setValue(int(settings.value("volume", 80)))
        self.transport.mute.setChecked(str(settings.value("muted")).lower() == "true")
        self.inspector.setVisible(str(settings.value("panel")).lower() != "false")
