"""The Live page: a camera, a stream, the screen or a file as it comes, bicubic beside super-resolution."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from PySide6.QtCore import QEvent, QObject, QPointF, QRectF, QSettings, QStandardPaths, Qt, QTimer, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QShowEvent
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QRubberBand,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

import vsr
from ui import theme
from ui.bridge import Image, Painted, Wish, Work, paint
from ui.canvas import Canvas, Mode, Shape
from ui.files import show
from ui.inspector import WIDTH
from ui.models import DEFAULT, field_name, offer
from ui.views import FullScreen, Views

_METER_MS = 250
_SIZES = ("", "640x360", "640x480", "1280x720", "1920x1080")
_PATIENCE_S = 1.0  # for which drivers are waited for at the end that do not say what devices there are
_LEAST_DRAG = 16  # logical pixels: a shorter one means nothing
_Key = Qt.Key
_MOVIES = QStandardPaths.StandardLocation.MoviesLocation
_PICTURES = QStandardPaths.StandardLocation.PicturesLocation
_NAME = "VSR "  # with which files begin that are recorded or saved
_SYSTEMS = "default"  # the microphone that the system has chosen
_QUIET = {"mode", "back"}  # messages that the picture itself tells


class Drawn(NamedTuple):
    """A picture as the canvas takes it."""

    shape: Shape
    painted: Painted


class LiveBridge(QObject):
    """The live source that is open, if any; one at a time. ``arrived`` says that there is something to take from it,
    ``ended`` that what was open is closed: its last messages. Nothing here is waited for by the window, but at its end.
    """

    arrived = Signal()
    started = Signal()
    failed = Signal(str)
    ended = Signal(list)
    found = Signal(list, list, list)  # as `vsr.cameras`, `vsr.microphones` and `vsr.cut_off` give them
    _searched = Signal()

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.live: vsr.Live | None = None
        self.difference = False  # whether that is what is looked at
        self._work: Work | None = None
        self._finding: Any = None  # a `vsr.newest`
        self._wanted: tuple[str, dict[str, Any]] | None = None
        self._has_wish = False
        self._searched.connect(self._take_found)

    @property
    def busy(self) -> bool:
        return self._work is not None

    @property
    def finding(self) -> bool:
        return self._finding is not None

    def find(self, folder: Path) -> None:
        """Look for cameras and microphones, and in ``folder`` for recordings that were cut off."""

        def look() -> Iterator[tuple[list[tuple[int, str]], list[str], list[tuple[Path, Path]]]]:
            yield vsr.cameras(), vsr.microphones(), vsr.cut_off(folder, _NAME)

        if self._finding is None:
            self._finding = vsr.newest(look(), self._searched.emit, _PATIENCE_S)

    def _take_found(self) -> None:
        finding = self._finding
        if finding is None or not finding.ended:
            return
        self._finding = None
        with finding:
            try:
                found: tuple[list[Any], ...] = finding.take() or ([], [], [])
                finding.take()  # raises what went wrong
            except Exception:
                self.found.emit([], [], [])
                raise
        self.found.emit(*found)

    def open(self, source: str, **options: Any) -> None:
        """Close what is open and open ``source``; the last one called wins."""
        self._wish((source, options))

    def close(self) -> None:
        self._wish(None)

    def _wish(self, wanted: tuple[str, dict[str, Any]] | None) -> None:
        self._wanted, self._has_wish = wanted, True
        if self._work is None:
            self._next()

    def _next(self) -> None:
        wanted, self._wanted, self._has_wish = self._wanted, None, False
        old, self.live = self.live, None

        def call() -> tuple[vsr.Live | None, list[tuple[str, str]]]:
            told: list[tuple[str, str]] = []
            if old is not None:
                old.close()
                told = list(old.messages)
            return (self._opened(*wanted) if wanted else None), told

        self._work = Work(call, self._done)

    def _opened(self, source: str, options: dict[str, Any]) -> vsr.Live:
        made: list[vsr.Live] = []
        made.append(vsr.Live(source, notify=self.arrived.emit, paint=lambda shown: self._paint(shown, made), **options))
        return made[0]

    def _paint(self, shown: vsr.Shown, made: list[vsr.Live]) -> Drawn:
        """In the live picture's thread. A region is all of the picture that there is."""
        painted = paint(shown, Wish(self.difference))
        within = made[0].kept(shown.source) if made else vsr.Box(0, 0, shown.source.width, shown.source.height)

        def moved(image: Image | None) -> Image | None:
            if image is None:
                return None
            left, top, right, bottom = image.box
            return image._replace(box=vsr.Box(left - within.left, top - within.top, right - within.left,
                                              bottom - within.top))

        shape = Shape(within.width, within.height, shown.choice.scale)
        return Drawn(shape, Painted(*map(moved, painted)))

    def _done(self, work: Work) -> None:
        self._work = None
        work.wait()
        told: list[tuple[str, str]] = []
        if work.error is None:
            self.live, told = work.result
        self.ended.emit(told)
        if self._has_wish:
            self._next()
        elif work.error is not None:
            if not isinstance(work.error, vsr.VsrError):
                raise work.error
            self.failed.emit(str(work.error))
        elif self.live is not None:
            self.started.emit()

    def shut(self) -> None:
        """Stop everything; all threads have ended when this returns, but one that looks for devices whose drivers give
        no answer: it ends with the program."""
        self._wanted, self._has_wish = None, False
        if self._finding is not None:
            self._finding.close()
            self._finding = None
        if self._work is not None:
            self._work.finished.disconnect()
            self._work.wait()
            self.live, self._work = (self._work.result or (None, []))[0], None
        if self.live is not None:
            self.live.close()
            self.live = None


class Panel(QFrame):
    """What is asked of the source, what enlarges, how it is looked at, and how well it goes."""

    asked = Signal()  # the source must be opened again
    chosen = Signal()
    moded = Signal(str)

    def __init__(self) -> None:
        super().__init__(objectName="panel")
        self.setFixedWidth(WIDTH)
        column = QVBoxLayout(self)
        column.setContentsMargins(*[2 * theme.UNIT] * 4)
        column.setSpacing(theme.UNIT)
        self.title = QLabel(self.tr("No picture"), objectName="title", wordWrap=True)
        self.about = QLabel("", objectName="quiet", wordWrap=True)
        column.addWidget(self.title)
        column.addWidget(self.about)
        grid = QGridLayout(horizontalSpacing=theme.UNIT, verticalSpacing=6)
        grid.setColumnStretch(1, 1)
        self._boxes: dict[str, QComboBox] = {}
        for row, (name, text, tip) in enumerate((
            ("size", self.tr("Picture"),
             self.tr("The size that the camera is asked for; small ones are enlarged fastest")),
            ("model", self.tr("Model"), self.tr("The network that enlarges: larger ones are sharper and slower")),
            ("scale", self.tr("Scale"), self.tr("How many times as wide and high")),
            ("show", self.tr("Record"), self.tr("What is recorded, photographed and lent to other programs")),
            ("sound", self.tr("Sound"), self.tr("The microphone whose sound recordings have")),
        )):
            box = self._boxes[name] = QComboBox()
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(1)
            theme.name(box, text, tip)
            label = QLabel(text, objectName="quiet")
            label.setBuddy(box)
            label.setToolTip(tip)
            grid.addWidget(label, row, 0)
            grid.addWidget(box, row, 1)
        for size in _SIZES:
            self._boxes["size"].addItem(size.replace("x", "×") or self.tr("as it comes"), size)
        self._boxes["model"].addItem(field_name(DEFAULT), DEFAULT)
        for scale in (2, 3, 4):
            self._boxes["scale"].addItem(f"×{scale}", scale)
        for side, text in (("sr", self.tr("super-resolution")), ("bicubic", self.tr("bicubic")),
                           ("both", self.tr("both"))):
            self._boxes["show"].addItem(text, side)
        self.fill_sound([])
        column.addLayout(grid)
        self.mirror = QCheckBox(self.tr("Mirrored"))
        theme.name(self.mirror, self.tr("Mirrored"), self.tr("As in a mirror"))
        self.hold = QCheckBox(self.tr("Hold the frame rate"), checked=True)
        theme.name(self.hold, self.tr("Hold the frame rate"),
                   self.tr("Where the machine is too slow: less exact, then only the middle, then bicubic"))
        column.addWidget(self.mirror)
        column.addWidget(self.hold)
        self._views = Views()
        self._views.moded.connect(self.moded)
        column.addWidget(self._views)
        column.addWidget(QFrame(objectName="rule"))
        self.mode = QLabel("–", wordWrap=True)
        column.addWidget(self.mode)
        column.addLayout(self._meter())
        column.addStretch()
        self._boxes["size"].activated.connect(self.asked)
        self.mirror.clicked.connect(self.asked)
        for name in ("model", "scale"):
            self._boxes[name].activated.connect(self.chosen)
        self.hold.clicked.connect(self.chosen)

    def _meter(self) -> QGridLayout:
        grid = QGridLayout(horizontalSpacing=theme.UNIT, verticalSpacing=2)
        grid.setColumnStretch(0, 1)
        texts = {"fps": self.tr("Frames a second"), "latency": self.tr("Latency"), "capture": self.tr("Capture"),
                 "upscale": self.tr("Upscale"), "show": self.tr("Show"), "dropped": self.tr("Dropped")}
        tips = {"fps": self.tr("Shown, of those that come"),
                "latency": self.tr("From when a picture came to when it was shown: the middle one, and 95 of 100"),
                "capture": self.tr("What bringing a picture into its form takes"),
                "upscale": self.tr("What making both sides of it takes, as far as they are seen"),
                "show": self.tr("What drawing it takes"),
                "dropped": self.tr("Pictures that newer ones took the place of")}
        self._numbers: dict[str, tuple[QLabel, QLabel]] = {}
        for row, (name, text) in enumerate(texts.items()):
            label, value = QLabel(text, objectName="quiet"), QLabel("–", alignment=Qt.AlignmentFlag.AlignRight)
            for each in (label, value):
                each.setToolTip(tips[name])
            theme.numbers(value)
            self._numbers[name] = label, value
            grid.addWidget(label, row, 0)
            grid.addWidget(value, row, 1)
        return grid

    def fill(self) -> None:
        """Offer the models that there are."""
        offer(self._boxes["model"])

    def fill_sound(self, microphones: list[str]) -> None:
        """Offer these beside the system's choice; what was chosen stays."""
        box, chosen = self._boxes["sound"], self.get("sound")
        box.clear()
        box.addItem(self.tr("none"), "")
        box.addItem(self.tr("the system's microphone"), _SYSTEMS)
        for name in microphones:
            box.addItem(name, name)
        self.set("sound", chosen)

    def get(self, name: str) -> Any:
        return self._boxes[name].currentData()

    def set(self, name: str, value: object) -> None:
        """What there is not is left as it was."""
        box = self._boxes[name]
        if value and box.findData(value) < 0:
            if name == "model" and box.count() == 1:
                box.addItem(field_name(str(value)), value)  # until `fill` knows what there is
            elif name == "sound":
                box.addItem(str(value), value)  # it may be plugged in again
        if (row := box.findData(value)) >= 0:
            box.setCurrentIndex(row)

    @property
    def choice(self) -> vsr.Choice:
        return vsr.Choice(self.get("model"), self.get("scale"))

    @property
    def wish(self) -> vsr.Asked:
        width, _, height = self.get("size").partition("x")
        return vsr.Asked((int(width), int(height)) if width else None, mirrored=self.mirror.isChecked())

    def show_mode(self, mode: Mode) -> None:
        self._views.show_mode(mode)

    def show_meter(self, meter: vsr.LiveMeter | None, wanted: float) -> None:
        if meter is None:
            self.mode.setText("–")
            for _, value in self._numbers.values():
                value.setText("–")
            return
        held = meter.fps >= 0.95 * min(wanted, meter.capture_fps)
        what = self.tr("{0}, {1:.0f} fps held") if held else self.tr("{0}, {1:.0f} fps not held")
        self.mode.setText(what.format(meter.mode.replace(" x", " ×"), wanted))
        latency = meter.latency_ms
        values = {"fps": f"{meter.fps:.1f} / {meter.capture_fps:.1f}", "dropped": f"{meter.dropped}",
                  "latency": f"{latency['median']:.0f} · {latency['p95']:.0f} ms"}
        values |= {stage: f"{ms:.1f} ms" for stage, ms in meter.stage_ms.items()}
        for name, text in values.items():
            _, value = self._numbers[name]
            value.setText(text)
            value.setStyleSheet("font-weight: 600" if name == meter.bottleneck else "")


class LivePage(QWidget):
    """See `ui.window.Window` for what a page is. ``gpu`` is the canvas's."""

    message = Signal(str, str, object)
    go = Signal(str, list)
    icon_name = "live"

    def __init__(self, gpu: bool | None = None) -> None:
        super().__init__()
        self.title = self.tr("Live")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.canvas, self.panel, self.bridge = Canvas(gpu), Panel(), LiveBridge(self)
        self._running = False  # whether a picture is wanted
        self._recording_since: float | None = None
        self._filled = self._eager = False
        self.foot_row = self._foot()
        self.setFocusProxy(self.canvas)
        self.canvas.setAccessibleName(self.tr("Live picture"))
        self._band = QRubberBand(QRubberBand.Shape.Rectangle, self.canvas)
        self._corner: QPointF | None = None  # where a part of the picture is dragged from
        self.canvas.installEventFilter(self)
        left = QVBoxLayout(spacing=0)
        left.addWidget(self.canvas, 1)
        left.addWidget(self.foot_row)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        row.addLayout(left, 1)
        row.addWidget(self.panel)
        self._full = FullScreen(self, left, self.canvas, self.foot_row, self.panel)
        self.bridge.arrived.connect(self._take)
        self.bridge.started.connect(self._started)
        self.bridge.failed.connect(self._failed)
        self.bridge.ended.connect(self._told)
        self.bridge.found.connect(self._found)
        self.panel.asked.connect(self._again)
        self.panel.chosen.connect(self._choose)
        self.panel.moded.connect(lambda mode: self.set_mode(Mode(mode)))
        self.canvas.wants.connect(self._look)
        self.canvas.drawn.connect(self._drawn)
        self._keys: dict[int, tuple[str, str, Callable[[], object]]] = {
            _Key.Key_Space: (self.tr("Space"), self.tr("Start, stop"), self.toggle),
            _Key.Key_R: ("R", self.tr("Record, or no longer"), self.toggle_recording),
            _Key.Key_P: ("P", self.tr("Snapshot"), self.snapshot),
            _Key.Key_V: ("V", self.tr("Virtual camera"), self.toggle_lending),
            _Key.Key_K: ("K", self.tr("Only what is seen, or all again"), self.toggle_region),
            _Key.Key_S: ("S", self.tr("Split"), lambda: self.set_mode(Mode.SPLIT)),
            _Key.Key_T: ("T", self.tr("Side by side"), lambda: self.set_mode(Mode.SIDE)),
            _Key.Key_A: ("A", self.tr("A/B: the one, the other"), self._flip),
            _Key.Key_D: ("D", self.tr("Difference ×8"), lambda: self.set_mode(Mode.DIFFERENCE)),
            _Key.Key_Z: ("Z", self.tr("1:1"), self.canvas.one_to_one),
            _Key.Key_X: ("X", self.tr("Fit"), self.canvas.fit),
            _Key.Key_H: ("H", self.tr("Hide, show the panel"), self._toggle_panel),
        }
        self._timer = QTimer(self, interval=_METER_MS)
        self._timer.timeout.connect(self._tick)
        self.canvas.hint = self.tr("Choose a camera or the screen below, or write a stream's address, and press Start")
        self.set_mode(Mode.SPLIT)
        self._show_state()

    def _foot(self) -> QFrame:
        foot = QFrame(objectName="foot")
        foot.setFixedHeight(6 * theme.UNIT)
        row = QHBoxLayout(foot)
        row.setContentsMargins(theme.UNIT, 0, theme.UNIT, 0)
        row.setSpacing(4)
        self._hint = self.tr("A camera, or an address as rtsp://…")
        line = self._line = QLineEdit(placeholderText=self._hint)
        self.source = QComboBox(editable=True, insertPolicy=QComboBox.InsertPolicy.NoInsert)
        self.source.setLineEdit(line)
        self.source.setMinimumContentsLength(24)
        theme.name(self.source, self.tr("Source"),
                   self.tr("A camera, the screen, a test pattern, or an address (rtsp, http, …)"))
        line.returnPressed.connect(self.start)
        self.source.activated.connect(lambda: self.start() if self._running else None)
        self._start = QPushButton(objectName="main")
        self._start.clicked.connect(self.toggle)

        def button(
            icon: str, text: str, tip: str, key: str, does: Callable[[], object], checkable: bool
        ) -> QToolButton:
            made = QToolButton(checkable=checkable)
            theme.set_icon(made, icon)
            theme.name(made, text, tip, key)
            made.clicked.connect(lambda: does())
            return made

        self._record = button("record", self.tr("Record"), self.tr("Record what is shown, into the videos' folder"),
                              "R", self.toggle_recording, True)
        self._lasts = QLabel("")
        theme.numbers(self._lasts)
        self._snap = button("save", self.tr("Snapshot"), self.tr("Save this picture, into the pictures' folder"), "P",
                            self.snapshot, False)
        self._lend = button("lend", self.tr("Virtual camera"),
                            self.tr("Lend the picture to other programs as a camera"), "V",
                            self.toggle_lending, True)
        self._region = button("region", self.tr("Only a part"),
                              self.tr("Drag with Shift, or zoom in first: only that is enlarged, recorded and lent"),
                              "K", self.toggle_region, True)
        full = button("full", self.tr("Full screen"), self.tr("The picture alone"), "F",
                      lambda: self.window().toggle_full_screen(), False)  # type: ignore[attr-defined]
        row.addWidget(self.source, 1)
        row.addWidget(self._start)
        row.addSpacing(theme.UNIT)
        for widget in (self._record, self._lasts, self._snap, self._lend, self._region, full):
            row.addWidget(widget)
        return foot

    # ---- sources ---------------------------------------------------------------------------------------------------

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if not self._filled:
            self._filled = True
            QTimer.singleShot(0, self.fill)

    def fill(self) -> None:
        """Offer what is always there, and the cameras when they are found."""
        self.panel.fill()
        text = self.source.currentText()
        self.source.clear()
        for name, source in ((self.tr("The screen"), "screen"), (self.tr("Test pattern"), "test")):
            self.source.addItem(name, source)
        self.source.setCurrentIndex(-1)
        self.source.setEditText(text)
        self._line.setPlaceholderText(self.tr("Looking for cameras…"))
        self.bridge.find(self._folder(_MOVIES))

    def _found(
        self, cameras: list[tuple[int, str]], microphones: list[str], recordings: list[tuple[Path, Path]]
    ) -> None:
        self.panel.fill_sound(microphones)
        self._line.setPlaceholderText(self._hint)
        for row, (index, name) in enumerate(cameras):
            self.source.insertItem(row, name, str(index))
        if not self.source.currentText():
            self.source.setCurrentIndex(0)
        if self._eager:
            self.start()
        for part, named in recordings:
            self.message.emit(self.tr("A recording was cut off: {0}. It plays as far as it came.").format(named.name),
                              self.tr("Keep it"), partial(self._keep, part, named))

    def _keep(self, part: Path, named: Path) -> None:
        """Give a recording that was cut off its name."""
        try:
            if not named.exists():
                part.rename(named)
                self._told([("saved", str(named))])
        except OSError as error:
            self.message.emit(self.tr("{0} cannot get its name: {1}").format(part, error.strerror), "", None)

    @property
    def wanted(self) -> str:
        """The source as `vsr.Live` takes it."""
        text = self.source.currentText().strip()
        row = self.source.findText(text)
        return str(self.source.itemData(row)) if row >= 0 and self.source.itemData(row) else text

    def open(self, paths: list[Path]) -> None:
        """Play a file at its own pace, as if it were a camera."""
        self.source.setEditText(str(paths[0]))
        self.start()

    def start(self) -> None:
        if not self.wanted and self.bridge.finding:
            self._eager = True
            self.message.emit(self.tr("It starts when the cameras are found."), "", None)
            return
        self.watch(self.wanted, self.panel.choice, self.panel.wish, not self.panel.hold.isChecked())

    def watch(self, source: str, choice: vsr.Choice, asked: vsr.Asked, pinned: bool = False, **more: Any) -> None:
        """Open ``source``; all this is as `vsr.Live` takes it."""
        self._eager = False
        try:
            vsr.check_source(source)
        except vsr.UsageError as error:
            self.message.emit(str(error), "", None)
            return
        if source != self.wanted:
            self.source.setEditText(source)
        self.panel.set("model", choice.model)
        self.panel.set("scale", choice.scale)
        self.panel.hold.setChecked(not pinned)
        self.panel.mirror.setChecked(asked.mirrored)
        self._running = True
        self.canvas.clear()
        self.canvas.labels = "Bicubic", self.tr("opening…")
        self.bridge.open(source, choice=choice, asked=asked, pinned=pinned, view=self.canvas.view(), **more)
        self._show_state()
        self.canvas.setFocus()

    def stop(self) -> None:
        self._running, self._recording_since = False, None
        self._timer.stop()
        self.bridge.close()
        self.canvas.clear()
        self.setWindowTitle("")
        self.panel.title.setText(self.tr("No picture"))
        self.panel.about.setText("")
        self.panel.show_meter(None, 0)
        self._show_state()

    def toggle(self) -> None:
        self.stop() if self._running else self.start()

    def _again(self) -> None:
        if self._running:
            self.start()

    def _started(self) -> None:
        live = self.bridge.live
        assert live is not None
        self.panel.title.setText(live.name)
        self.setWindowTitle(live.name)
        self._look()
        self._timer.start()
        self._show_state()
        self._take()

    def _failed(self, why: str) -> None:
        self.stop()
        self.message.emit(why, self.tr("Try again"), self.start)

    def _show_state(self) -> None:
        live = self.bridge.live
        text = self.tr("Stop") if self._running else self.tr("Start")
        self._start.setText(text)
        theme.name(self._start, text, self.tr("Start or stop the picture"), self.tr("Space"))
        for button in (self._record, self._snap, self._lend, self._region):
            button.setEnabled(live is not None)
        self._record.setChecked(live is not None and live.recording)
        self._lend.setChecked(live is not None and live.lending)
        self._region.setChecked(live is not None and live.region is not None)
        if live is None or not live.recording:
            self._recording_since = None
        lasts = 0 if self._recording_since is None else int(time.monotonic() - self._recording_since)
        self._lasts.setText("" if self._recording_since is None else f"{lasts // 60}:{lasts % 60:02}")

    # ---- what is shown ---------------------------------------------------------------------------------------------

    def _take(self) -> None:
        live = self.bridge.live
        if live is None:
            return
        try:
            shown = live.take()
        except vsr.VsrError as error:
            self._failed(str(error))
            return
        self._tell(live)
        if shown is None:
            if live.ended:
                self.stop()
                self.message.emit(self.tr("It has ended."), self.tr("Play again"), self.start)
            return
        drawn: Drawn = shown.painted
        said = live.mode.replace(" x", " ×") if live.ready else self.tr("the model is being prepared…")
        self.canvas.labels = "Bicubic", said
        self.canvas.show_frame(*drawn)
        scale = drawn.shape.scale
        self.panel.about.setText(f"{drawn.shape.width}×{drawn.shape.height} → "
                                 f"{drawn.shape.width * scale}×{drawn.shape.height * scale}")

    def _look(self) -> None:
        """Something else is looked at, or in another way."""
        self.bridge.difference = self.canvas.mode is Mode.DIFFERENCE
        live = self.bridge.live
        if live is not None:
            region, view = live.region, self.canvas.view()
            live.view = vsr.View(*((box and region and _moved(box, region.left, region.top)) or box for box in view))

    def _drawn(self, ms: float) -> None:
        if self.bridge.live is not None:
            self.bridge.live.told(ms)

    def _tick(self) -> None:
        live = self.bridge.live
        if live is not None:
            self._take()
        if (live := self.bridge.live) is not None:
            self.panel.show_meter(live.meter() if live.ready else None, live.fps)
        self._show_state()

    def _tell(self, live: vsr.Live) -> None:
        told = []
        while live.messages:
            told.append(live.messages.popleft())
        if any(code == "region" for code, _ in told):
            self._keep_to(None)
        self._told(told)

    def _told(self, told: list[tuple[str, str]]) -> None:
        for code, text in told:
            if code in ("recorded", "saved"):
                path = Path(text)
                self.message.emit(self.tr("Saved {0}").format(path.name), self.tr("Show in folder"),
                                  partial(show, path, self))
            elif code not in _QUIET:
                self.message.emit(text, "", None)

    # ---- views and choices -----------------------------------------------------------------------------------------

    def set_mode(self, mode: Mode) -> None:
        self.canvas.mode = mode
        self.panel.show_mode(mode)

    def _flip(self) -> None:
        self.canvas.flip()
        self.panel.show_mode(Mode.FLICKER)

    def _choose(self) -> None:
        self.canvas.setFocus()
        live = self.bridge.live
        if live is not None:
            try:
                live.choice = self.panel.choice
                live.pinned = not self.panel.hold.isChecked()
            except vsr.UsageError as error:
                self.message.emit(str(error), "", None)

    def toggle_region(self) -> None:
        """Keep to what is seen of the picture now, or to all of it again."""
        live = self.bridge.live
        if live is not None and live.region is None:
            self._keep_to(self.canvas.box_of(QRectF(self.canvas.rect())))
        else:
            self._keep_to(None)

    def _keep_to(self, box: vsr.Box | None) -> None:
        """To that part of the picture as it is shown; None is all that there is."""
        live = self.bridge.live
        if live is None:
            return
        if box is not None and live.region is not None:
            box = _moved(box, live.region.left, live.region.top)
        live.region = box and box.grown(0, (4, 4))
        live.view = vsr.View()  # until the canvas has a picture of that shape
        self.canvas.fit()
        self._show_state()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """A drag with Shift on the canvas chooses a part of the picture."""
        if isinstance(event, QMouseEvent):
            at, kind = event.position(), event.type()
            shift = event.modifiers() & Qt.KeyboardModifier.ShiftModifier
            if kind is QEvent.Type.MouseButtonPress and shift and event.button() is Qt.MouseButton.LeftButton:
                self._corner = at
            elif self._corner is not None:
                area = QRectF(self._corner, at).normalized()
                self._band.setGeometry(area.toRect())
                self._band.setVisible(kind is QEvent.Type.MouseMove)
                if kind is QEvent.Type.MouseButtonRelease:
                    self._corner = None
                    box = self.canvas.box_of(area)
                    if min(area.width(), area.height()) >= _LEAST_DRAG and box is not None:
                        self._keep_to(box)
            else:
                return False
            return True
        return super().eventFilter(watched, event)

    def _toggle_panel(self) -> None:
        self.panel.setVisible(not self.panel.isVisible())

    # ---- outputs ---------------------------------------------------------------------------------------------------

    @staticmethod
    def _folder(kind: QStandardPaths.StandardLocation) -> Path:
        return Path(QStandardPaths.writableLocation(kind) or Path.home())

    def _place(self, kind: QStandardPaths.StandardLocation, suffix: str) -> Path:
        folder = self._folder(kind)
        folder.mkdir(parents=True, exist_ok=True)
        name = time.strftime(f"{_NAME}%Y-%m-%d %H-%M-%S")
        return next(path for number in range(1, 1000)
                    if not (path := folder / f"{name}{f' ({number})' if number > 1 else ''}{suffix}").exists())

    def _try(self, does: Callable[[vsr.Live], object]) -> None:
        live = self.bridge.live
        if live is not None:
            try:
                does(live)
            except (vsr.VsrError, OSError) as error:
                self.message.emit(str(error), "", None)
            self._show_state()

    def toggle_recording(self) -> None:
        def toggle(live: vsr.Live) -> None:
            if live.recording:
                live.stop_recording()
            else:
                live.record(self._place(_MOVIES, ".mkv"), self.panel.get("show"),
                            microphone=self.panel.get("sound") or None)
                self._recording_since = time.monotonic()

        self._try(toggle)

    def snapshot(self) -> None:
        self._try(lambda live: live.snapshot(
            self._place(_PICTURES, ".png"), self.panel.get("show")))

    def toggle_lending(self) -> None:
        self._try(lambda live: live.stop_lending() if live.lending else live.lend(self.panel.get("show")))

    # ---- as a page -------------------------------------------------------------------------------------------------

    def keys(self) -> list[tuple[str, str]]:
        return [(shown, text) for shown, text, _ in self._keys.values()]

    def keyPressEvent(self, event: QKeyEvent) -> None:
        held = event.modifiers() & (Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier)
        command = None if held or event.isAutoRepeat() else self._keys.get(event.key())
        if command is None:
            super().keyPressEvent(event)
        else:
            command[2]()

    def foot(self) -> int:
        return self.foot_row.height()

    @property
    def aside(self) -> QWidget:
        return self.panel

    def bare(self, on: bool) -> None:
        self._full.set(on)

    def busy(self) -> str | None:
        live = self.bridge.live
        return self.tr("A live picture is being recorded.") if live is not None and live.recording else None

    def shut(self) -> None:
        self._timer.stop()
        self.bridge.shut()

    def save_state(self, settings: QSettings) -> None:
        source = self.source.currentText()
        # Who logs in is nobody's business, nor is it the settings' file's
        settings.setValue("source", source if vsr.shown_name(source) == source else "")
        for name in ("size", "model", "scale", "show", "sound"):
            settings.setValue(name, self.panel.get(name))
        for name, value in {
            "mirror": self.panel.mirror.isChecked(),
            "hold": self.panel.hold.isChecked(),
            "mode": self.canvas.mode.value, "split": self.canvas.split,
            "panel": self._full.has_aside,
        }.items():  # fmt: skip
            settings.setValue(name, value)

    def restore_state(self, settings: QSettings) -> None:
        if source := str(settings.value("source") or ""):
            self.source.setEditText(source)
        for name in ("size", "model", "show", "sound"):
            self.panel.set(name, settings.value(name))
        self.panel.set("scale", int(str(settings.value("scale", 2))))
        self.panel.mirror.setChecked(str(settings.value("mirror")).lower() == "true")
        self.panel.hold.setChecked(str(settings.value("hold")).lower() != "false")
        mode = str(settings.value("mode", Mode.SPLIT))
        self.set_mode(Mode(mode) if mode in tuple(Mode) else Mode.SPLIT)
        self.canvas.split = float(str(settings.value("split", 0.5)))
        self.panel.setVisible(str(settings.value("panel")).lower() != "false")


def _moved(box: vsr.Box, x: int, y: int) -> vsr.Box:
    return vsr.Box(box.left + x, box.top + y, box.right + x, box.bottom + y)
