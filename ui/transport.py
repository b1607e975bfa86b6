"""The row beneath the canvas: playing, places in time, loop, speed, volume."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QImage, QMouseEvent, QPainter, QPaintEvent, QPixmap, QResizeEvent
from PySide6.QtWidgets import (
    QComboBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QSlider,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from ui import theme

SPEEDS = (0.25, 0.5, 1.0, 1.5, 2.0, 4.0)
_MS = 1000
_WIDE, _MIDDLE, _NARROW = (units * theme.UNIT for units in (75, 66, 60))  # pixels, from which on there is room


def clock(seconds: float) -> str:
    """01:02.35, with hours where there are any."""
    hundredths = max(0, int(seconds * 100 + 1e-6))
    minutes, hundredths = divmod(hundredths, 6000)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}:" if hours else "") + f"{minutes:02}:{hundredths // 100:02}.{hundredths % 100:02}"


class SeekBar(QSlider):
    """Where in the video it is. Pressing goes there; ``pointed`` tells what time the mouse is over, below 0 none."""

    sought = Signal(float)
    pointed = Signal(float, float)  # seconds, and where, in pixels from the left

    def __init__(self) -> None:
        super().__init__(Qt.Orientation.Horizontal)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setFixedHeight(3 * theme.UNIT)
        self.setSingleStep(_MS)
        self.setPageStep(10 * _MS)
        self._loop: tuple[float | None, float | None] = None, None
        self._over = -1.0
        theme.name(self, self.tr("Place in the video"), self.tr("Click or drag to go there"))
        self.actionTriggered.connect(lambda _: self.sought.emit(self.sliderPosition() / _MS))

    def set_duration(self, seconds: float | None) -> None:
        """None where nobody knows: then it reaches as far as was shown."""
        self.setRange(0, max(1, round((seconds or 0) * _MS)))
        self.setEnabled(bool(seconds))

    @property
    def duration(self) -> float:
        return self.maximum() / _MS if self.isEnabled() else 0.0

    def show_time(self, seconds: float) -> None:
        if (now := round(seconds * _MS)) > self.maximum():
            self.setMaximum(now)
            self.setEnabled(True)
        if not self.isSliderDown():
            self.setValue(now)

    def show_loop(self, begin: float | None, end: float | None) -> None:
        self._loop = begin, end
        self.update()

    def _x(self, seconds: float) -> float:
        return 6 + (self.width() - 12) * min(1.0, seconds * _MS / self.maximum())

    def _time(self, x: float) -> float:
        return min(max((x - 6) / max(1, self.width() - 12), 0.0), 1.0) * self.maximum() / _MS

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        middle, now = self.height() / 2, self._x(self.value() / _MS)
        busy = self.isEnabled() and (self._over >= 0 or self.isSliderDown() or self.hasFocus())
        thick = 6 if busy else 4

        def bar(left: float, right: float, color: QColor) -> None:
            painter.setBrush(color)
            painter.drawRoundedRect(QRectF(left, middle - thick / 2, max(0, right - left), thick), thick / 2, thick / 2)

        bar(6, self.width() - 6, theme.color("line"))
        begin, end = self._loop
        if begin is not None or end is not None:
            faint = theme.color("accent")
            faint.setAlpha(90)
            bar(self._x(begin or 0), self._x(end if end is not None else self.maximum() / _MS), faint)
        if self.isEnabled():
            bar(6, now, theme.color("accent"))
            painter.setBrush(theme.color("text"))
            painter.drawEllipse(QPointF(now, middle), 7 if busy else 5, 7 if busy else 5)
        for mark in (begin, end):
            if mark is not None:
                painter.setBrush(theme.color("accent"))
                painter.drawRect(QRectF(self._x(mark) - 1, 2, 2, self.height() - 4))
        if self.hasFocus():
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(theme.color("accent"))
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 6, 6)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() is Qt.MouseButton.LeftButton:
            self.setSliderDown(True)
            self._go(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._over = self._time(event.position().x())
        self.pointed.emit(self._over, event.position().x())
        if self.isSliderDown():
            self._go(event)
        self.update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self.setSliderDown(False)

    def leaveEvent(self, event: object) -> None:
        self._over = -1.0
        self.pointed.emit(-1.0, 0.0)
        self.update()

    def _go(self, event: QMouseEvent) -> None:
        seconds = self._time(event.position().x())
        self.setValue(round(seconds * _MS))
        self.sought.emit(seconds)


class Bubble(QFrame):
    """The time that the mouse is over, and what is to be seen there."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent, objectName="strip")
        self._within = parent
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._picture, self._time = QLabel(), QLabel(alignment=Qt.AlignmentFlag.AlignCenter)
        theme.numbers(self._time)
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 4, 4, 4)
        column.setSpacing(2)
        column.addWidget(self._picture)
        column.addWidget(self._time)
        self._picture.hide()
        self.hide()

    def point(self, seconds: float, bottom: QPointF) -> None:
        self._time.setText(clock(seconds))
        self._place(bottom)

    def _place(self, bottom: QPointF) -> None:
        self._bottom = bottom
        self.adjustSize()
        most = self._within.width() - self.width() - 4
        self.move(min(max(4, round(bottom.x() - self.width() / 2)), most), round(bottom.y() - self.height() - 4))
        self.show()
        self.raise_()

    def picture(self, image: QImage) -> None:
        self._picture.show()
        self._picture.setPixmap(QPixmap.fromImage(image))
        if self.isVisible():
            self._place(self._bottom)


class Transport(QFrame):
    """All of the row. It asks by signals and is told by its ``show_`` methods."""

    play = Signal()
    step = Signal(int)
    loop = Signal(bool)
    full = Signal()
    sounded = Signal()  # volume or muting changed
    sped = Signal(float)

    def __init__(self) -> None:
        super().__init__(objectName="foot")
        self.setFixedHeight(6 * theme.UNIT)
        self.bar = SeekBar()
        self._time, self._total = QLabel(clock(0)), QLabel("", objectName="quiet")
        for label in (self._time, self._total):
            theme.numbers(label)
        self._time.setMinimumWidth(self._time.fontMetrics().horizontalAdvance("00:00.000"))
        row = QHBoxLayout(self)
        row.setContentsMargins(theme.UNIT, 0, theme.UNIT, 0)
        row.setSpacing(4)

        def button(icon: str, text: str, tip: str, key: str) -> QToolButton:
            made = QToolButton()
            made.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            theme.set_icon(made, icon)
            theme.name(made, text, tip, key)
            row.addWidget(made)
            return made

        self._previous = button("previous", self.tr("Frame back"), self.tr("Go back by one frame"), "←")
        self._play = button("play", self.tr("Play"), self.tr("Play or pause"), self.tr("Space"))
        self._next = button("next", self.tr("Frame on"), self.tr("Go on by one frame"), "→")
        row.addSpacing(theme.UNIT)
        row.addWidget(self._time)
        row.addWidget(self.bar, 1)
        row.addWidget(self._total)
        row.addSpacing(theme.UNIT)
        self._loop = button("loop", self.tr("Loop"), self.tr("Play over and over, between I and O where they are set"),
                            "R")
        self._loop.setCheckable(True)
        self.mute = button("volume", self.tr("Mute"), self.tr("Sound on or off"), "M")
        self.mute.setCheckable(True)
        self.volume = QSlider(Qt.Orientation.Horizontal, minimum=0, maximum=100, value=80)
        self.volume.setFixedWidth(10 * theme.UNIT)
        self.volume.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        theme.name(self.volume, self.tr("Volume"), self.tr("How loud the sound is"), "↑ ↓")
        row.addWidget(self.volume)
        self.speed = QComboBox()
        self.speed.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        for speed in SPEEDS:
            self.speed.addItem(f"{speed:g}×", speed)
        self.speed.setCurrentIndex(SPEEDS.index(1.0))
        theme.name(self.speed, self.tr("Speed"), self.tr("How fast it plays; there is sound at 1× only"), "J K L")
        row.addWidget(self.speed)
        full = button("full", self.tr("Full screen"), self.tr("The picture alone"), "F")

        self._play.clicked.connect(self.play)
        self._previous.clicked.connect(lambda: self.step.emit(-1))
        self._next.clicked.connect(lambda: self.step.emit(1))
        self._loop.clicked.connect(self.loop)
        full.clicked.connect(self.full)
        self.mute.toggled.connect(lambda on: theme.set_icon(self.mute, "muted" if on else "volume"))
        self.mute.toggled.connect(self.sounded)
        self.volume.valueChanged.connect(self.sounded)
        self.speed.currentIndexChanged.connect(lambda: self.sped.emit(self.speed.currentData()))
        self.set_open(None, False)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Where there is little room, the place in the video has it."""
        super().resizeEvent(event)
        for widget, needed in ((self.volume, _WIDE), (self._total, _WIDE), (self.speed, _MIDDLE),
                               (self._previous, _NARROW), (self._next, _NARROW)):
            widget.setVisible(self.width() >= needed)

    @property
    def loudness(self) -> float:
        return 0.0 if self.mute.isChecked() else self.volume.value() / 100

    def set_open(self, duration: float | None, has_sound: bool, is_open: bool = False) -> None:
        self.bar.set_duration(duration)
        for widget in (self._play, self._previous, self._next, self._loop, self.speed):
            widget.setEnabled(is_open)
        for widget in (self.mute, self.volume):
            widget.setEnabled(has_sound)
        self.show_time(0)

    def show_time(self, seconds: float) -> None:
        self._time.setText(clock(seconds))
        self.bar.show_time(seconds)
        self._total.setText(clock(self.bar.duration) if self.bar.duration else "")

    def show_playing(self, playing: bool) -> None:
        theme.set_icon(self._play, "pause" if playing else "play")
        text = self.tr("Pause") if playing else self.tr("Play")
        if self._play.accessibleName() != text:
            theme.name(self._play, text, self.tr("Play or pause"), self.tr("Space"))

    def show_loop(self, on: bool, begin: float | None, end: float | None) -> None:
        self._loop.setChecked(on)
        self.bar.show_loop(begin, end)
