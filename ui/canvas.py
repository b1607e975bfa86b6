"""The canvas: both sides of a frame at one zoom, as a split, side by side, one over the other, or their difference.

Everything is measured in the screen's own pixels; a picture's are those of the enlarged frame as it is to be seen.
"""

from __future__ import annotations

import math
import time
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from PySide6.QtCore import QEvent, QPoint, QPointF, QRect, QRectF, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QEnterEvent,
    QFontMetrics,
    QMouseEvent,
    QNativeGestureEvent,
    QPainter,
    QPen,
    QPolygonF,
    QRegion,
    QResizeEvent,
    QTransform,
    QWheelEvent,
)
from PySide6.QtWidgets import QPinchGesture, QSizePolicy, QVBoxLayout, QWidget

import vsr
from ui.bridge import Image, Painted
from ui.surface import Draw, RasterSurface

_WHOLE = 2.0  # screen pixels for one of the picture's: from there on only whole numbers, drawn as squares
_STEP = 1.25  # of the zoom, for a notch of the wheel or a key
_MOST = 32.0  # screen pixels for one of the picture's
_NEAR = 10  # logical pixels: so near, the split line can be taken
_GRIP = 13
_LOUPE, _LOUPE_ZOOM = 190, 4  # logical pixels of each of its halves; how much larger than the canvas, about
_AROUND = 8  # pixels before enlarging that are asked for around what is seen, so that a little panning finds them
_GAP = 2  # screen pixels between the sides


if TYPE_CHECKING:
    from ui.opengl import GlSurface


class Mode(StrEnum):
    SPLIT = "split"
    SIDE = "side"
    FLICKER = "flicker"
    DIFFERENCE = "difference"


class Shape(NamedTuple):
    """What a frame's picture is: ``width`` and ``height`` as stored, before enlarging, ``scale`` times as much after;
    EXIF's ``orientation``; ``aspect``, how wide a stored pixel is for its height."""

    width: int
    height: int
    scale: int = 2
    orientation: int = 1
    aspect: Fraction = Fraction(1)

    @property
    def seen(self) -> tuple[float, float]:
        """Width and height of the enlarged picture as it is to be seen."""
        width, height = self.width * self.scale * float(self.aspect), float(self.height * self.scale)
        return (height, width) if self.orientation > 4 else (width, height)

    def to_unit(self) -> QTransform:
        """From stored pixels before enlarging to the seen picture as a square from 0 to 1."""
        unit = QTransform.fromScale(1 / self.width, 1 / self.height)
        # EXIF: the picture is transposed for 5 to 8, then mirrored
        if self.orientation > 4:
            unit *= QTransform(0, 1, 1, 0, 0, 0)
        if self.orientation in (2, 3, 6, 7):
            unit *= QTransform(-1, 0, 0, 1, 1, 0)
        if self.orientation in (3, 4, 7, 8):
            unit *= QTransform(1, 0, 0, -1, 0, 1)
        return unit


class Canvas(QWidget):
    """Shows what `show_frame` brings. ``wants`` says that another part of the sides is looked at now (`view`), or that
    the mode changed. ``gpu`` chooses the painter: None takes OpenGL where there is a GPU for it."""

    wants = Signal()
    drawn = Signal(float)  # how long that took, in ms, for each new frame

    def __init__(self, gpu: bool | None = None) -> None:
        super().__init__()
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMouseTracking(True)
        self.grabGesture(Qt.GestureType.PinchGesture)
        self.setAccessibleName(self.tr("Picture"))
        self.setMinimumSize(240, 160)
        self.surface = _surface(self, gpu)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.surface)
        self.labels = "Bicubic", ""
        self.hint = ""  # what is said where there is no picture
        self._is_new = False  # whether the frame has not been drawn yet
        self._mode, self._peek, self._flipped = Mode.SPLIT, False, False
        self._shape: Shape | None = None
        self._painted = Painted()
        self._wide: float | None = None  # screen pixels that the whole picture is wide; None fits it in
        self._centre = QPointF(0.5, 0.5)  # of the picture, in the middle of a pane
        self._split = 0.5  # of the canvas
        self._loupe = False
        self._mouse: QPointF | None = None  # where it is, in logical pixels
        self._drag: str | None = None
        self._drag_from = QPointF()

    # ---- what is shown ---------------------------------------------------------------------------------------------

    def show_frame(self, shape: Shape, painted: Painted) -> None:
        """Show this from here on."""
        fresh = self._shape is None or shape != self._shape
        self._shape, self._painted, self._is_new = shape, painted, True
        self.surface.update()
        if fresh:
            self._changed()

    def shut(self) -> None:
        """Nothing is shown any more; what the graphics memory holds is given back."""
        self.clear()
        self.surface.release()

    def clear(self) -> None:
        self._shape, self._painted, self._wide, self._centre = None, Painted(), None, QPointF(0.5, 0.5)
        self.surface.update()

    @property
    def mode(self) -> Mode:
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._mode = mode
        self._changed()

    def flip(self) -> None:
        """The other of both sides, one over the other."""
        self._flipped = not self._flipped if self._mode is Mode.FLICKER else self._flipped
        self.mode = Mode.FLICKER

    def peek(self, on: bool) -> None:
        """While on, only bicubic is shown."""
        if on != self._peek:
            self._peek = on
            self._changed()

    @property
    def loupe(self) -> bool:
        return self._loupe

    @loupe.setter
    def loupe(self, on: bool) -> None:
        self._loupe = on
        self._changed()

    @property
    def split(self) -> float:
        return self._split

    @split.setter
    def split(self, place: float) -> None:
        self._split = min(max(place, 0.0), 1.0)
        self._changed()

    @property
    def percent(self) -> float:
        """How large a pixel of the enlarged picture is on the screen, in percent."""
        return 100 * self._place(self._panes()[0][0]).width() / self._shape.seen[0] if self._shape else 100.0

    @property
    def shrink(self) -> int:
        """How many times smaller the sides may come: what is shown smaller would flicker."""
        return max(1, int(100 / self.percent + 1e-6)) if not self._loupe else 1

    @property
    def fits(self) -> bool:
        return self._wide is None

    @property
    def dims(self) -> float:
        return self.devicePixelRatioF()

    # ---- zoom and pan ----------------------------------------------------------------------------------------------

    def fit(self) -> None:
        self._wide, self._centre = None, QPointF(0.5, 0.5)
        self._changed()

    def one_to_one(self, at: QPointF | None = None) -> None:
        """A pixel of the enlarged picture on each of the screen's."""
        self.zoom(100 / self.percent, at)

    def zoom(self, factor: float, at: QPointF | None = None) -> None:
        """Larger by ``factor``; what is ``at`` this place (logical pixels) stays there."""
        if self._shape is None:
            return
        pane = self._pane_at(at)
        place = self._place(pane)
        anchor = QPointF(pane.center()) + QPointF(0.5, 0.5) if at is None else at * self.dims
        least = min(64.0, self._shape.seen[0])
        wide = min(max(place.width() * factor, least), self._shape.seen[0] * _MOST)
        wide = self._shape.seen[0] * _snapped(wide / self._shape.seen[0], factor > 1)
        picked = QPointF((anchor.x() - place.x()) / place.width(), (anchor.y() - place.y()) / place.height())
        tall = wide * place.height() / place.width()
        middle = QRectF(pane).center()
        self._wide = wide
        self._centre = picked + QPointF((middle.x() - anchor.x()) / wide, (middle.y() - anchor.y()) / tall)
        self._changed()

    def pan(self, by: QPointF) -> None:
        """Move what is seen by so many logical pixels."""
        if self._shape is None:
            return
        place = self._place(self._panes()[0][0])
        self._centre -= QPointF(by.x() * self.dims / place.width(), by.y() * self.dims / place.height())
        self._wide = place.width()
        self._changed()

    def _changed(self) -> None:
        """What is looked at is another part."""
        if self._shape is not None:
            pane = self._panes()[0][0]
            place = self._place(pane)
            # No further than to the picture's edges; what is smaller than its pane is in the middle
            half = QPointF(pane.width() / place.width() / 2, pane.height() / place.height() / 2)
            self._centre = QPointF(*(0.5 if h >= 0.5 else min(max(c, h), 1 - h) for c, h in (
                (self._centre.x(), half.x()), (self._centre.y(), half.y()))))
        self.surface.update()
        self.wants.emit()

    # ---- where things are ------------------------------------------------------------------------------------------

    def _area(self) -> QRect:
        return QRect(QPoint(), (self.size().toSizeF() * self.dims).toSize())

    def _panes(self) -> list[tuple[QRect, str]]:
        """Where pictures are, and which side of them; in a split both are in one place."""
        area = self._area()
        if self._peek:
            return [(area, "bicubic")]
        if self._mode is Mode.SIDE:
            half = max(1, (area.width() - _GAP) // 2)
            return [(QRect(0, 0, half, area.height()), "bicubic"),
                    (QRect(area.width() - half, 0, half, area.height()), "sr")]
        if self._mode is Mode.SPLIT:
            line = self._line()
            shown = {"bicubic": line > 0, "sr": line < area.width()}
            return [(area, side) for side, on in shown.items() if on]
        if self._mode is Mode.DIFFERENCE:
            return [(area, "difference")]
        return [(area, "bicubic" if self._flipped else "sr")]

    def _line(self) -> int:
        """Where the split is: the first column of the model's side."""
        return round(self._split * self._area().width())

    def _seen_of(self, pane: QRect, side: str) -> QRect:
        """What of a pane shows that side."""
        if self._mode is Mode.SPLIT and not self._peek:
            line = self._line()
            return QRect(0, 0, line, pane.height()) if side == "bicubic" else pane.adjusted(line, 0, 0, 0)
        return pane

    def _pane_at(self, at: QPointF | None) -> QRect:
        panes = [pane for pane, _ in self._panes()]
        return next((pane for pane in panes if at is not None and pane.contains((at * self.dims).toPoint())), panes[0])

    def _place(self, pane: QRect) -> QRectF:
        """Where the whole picture lies, of which a pane shows a part."""
        assert self._shape is not None
        wide, tall = self._shape.seen
        zoom = min(pane.width() / wide, pane.height() / tall) if self._wide is None else self._wide / wide
        width, height = wide * zoom, tall * zoom
        left = pane.x() + pane.width() / 2 - self._centre.x() * width
        top = pane.y() + pane.height() / 2 - self._centre.y() * height
        return QRectF(round(left), round(top), width, height)  # whole pixels, so that 1:1 is exact

    def _to_screen(self, place: QRectF) -> QTransform:
        """From stored pixels before enlarging to the screen."""
        assert self._shape is not None
        return self._shape.to_unit() * QTransform(place.width(), 0, 0, place.height(), place.x(), place.y())

    def view(self) -> vsr.View:
        """What is looked at of both sides."""
        if self._shape is None:
            return vsr.View()
        boxes: dict[str, vsr.Box] = {}
        # While the line moves, and under the loupe, both sides are wanted wherever one is seen
        both = self._mode is Mode.DIFFERENCE or ((self._loupe or self._drag == "split") and not self._peek)
        for pane, side in self._panes():
            box = self._box(self._place(pane), pane if both else self._seen_of(pane, side))
            if box is not None:
                boxes[side] = box
        if both and boxes:
            boxes = dict.fromkeys(("bicubic", "sr"), next(iter(boxes.values())))
        return vsr.View(boxes.get("bicubic"), boxes.get("sr"))

    def box_of(self, area: QRectF) -> vsr.Box | None:
        """The stored pixels that lie in a rectangle of the canvas, in logical pixels; None where none do."""
        if self._shape is None:
            return None
        seen = QRectF(area.topLeft() * self.dims, area.size() * self.dims).toAlignedRect()
        pane = self._pane_at(area.center())
        return self._box(self._place(pane), seen.intersected(pane), around=0)

    def _box(self, place: QRectF, seen: QRect, around: int = _AROUND) -> vsr.Box | None:
        """The stored pixels that lie in ``seen``, and a little around them."""
        assert self._shape is not None
        inside = QRectF(seen).intersected(place)
        if inside.isEmpty():
            return None
        back, _ = self._to_screen(place).inverted()
        area = back.mapRect(inside)
        box = vsr.Box(int(area.left()), int(area.top()), -int(-area.right() // 1), -int(-area.bottom() // 1))
        whole = vsr.Box(0, 0, self._shape.width, self._shape.height)
        return (box.grown(around, (16, 16)) if around else box).within(whole)

    # ---- drawing ---------------------------------------------------------------------------------------------------

    def scene(self) -> list[Draw]:
        """The images to draw, each where."""
        if self._shape is None:
            return []
        draws = []
        for pane, side in self._panes():
            place = self._place(pane)
            image = getattr(self._painted, side)
            if image is not None:
                clip = self._seen_of(pane, side).intersected(place.toAlignedRect())
                draws.append(self._draw(image, place, clip))
        if self._loupe and self._mouse is not None:
            draws += self._loupe_draws()
        return draws

    def _draw(self, image: Image, place: QRectF, clip: QRect) -> Draw:
        shape = self._shape
        assert shape is not None
        box, (height, width) = image.box, image.pixels.shape[:2]  # of another scale, if one is on its way
        at = QTransform.fromScale(box.width / width, box.height / height) * QTransform.fromTranslate(box.left, box.top)
        zoom = place.width() / shape.seen[0]
        smooth = abs(zoom - round(zoom)) * shape.seen[0] > 0.5
        return Draw(image.pixels, at * self._to_screen(place), clip, smooth)

    def _loupe_rects(self) -> tuple[QRect, QRect]:
        """Of both halves, on the side of the mouse where there is room."""
        assert self._mouse is not None
        side, area = round(_LOUPE * self.dims), self._area()
        gap = round(24 * self.dims)
        mouse = (self._mouse * self.dims).toPoint()
        left = min(max(mouse.x() - side, 0), max(0, area.width() - 2 * side))
        top = mouse.y() + gap if mouse.y() + gap + side <= area.height() else max(0, mouse.y() - gap - side)
        return QRect(left, top, side, side), QRect(left + side, top, side, side)

    def _loupe_draws(self) -> list[Draw]:
        assert self._mouse is not None and self._shape is not None
        pane = self._pane_at(self._mouse)
        place, mouse = self._place(pane), self._mouse * self.dims
        x, y = (mouse.x() - place.x()) / place.width(), (mouse.y() - place.y()) / place.height()
        if not (0 <= x <= 1 and 0 <= y <= 1):
            return []
        draws = []
        for rect, image in zip(self._loupe_rects(), (self._painted.bicubic, self._painted.sr), strict=True):
            zoom = max(_WHOLE, round(_LOUPE_ZOOM * place.width() / self._shape.seen[0]))
            large = QRectF(0, 0, *(side * zoom for side in self._shape.seen))
            large.moveTopLeft(QRectF(rect).center() - QPointF(x * large.width(), y * large.height()))
            if image is not None:
                draws.append(self._draw(image, large, rect))
        return draws

    def paint_over(self, painter: QPainter) -> None:
        """Labels, the split's line and grip, the loupe's frame; in logical pixels."""
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self._shape is None:
            painter.setPen(QColor(255, 255, 255, 200))
            inside = QRectF(self.rect()).adjusted(24, 24, -24, -24)
            painter.drawText(inside, Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, self.hint)
            return
        panes = dict((side, pane) for pane, side in self._panes())
        for side, pane in panes.items():
            seen = QRectF(self._seen_of(pane, side))
            seen = QRectF(seen.topLeft() / self.dims, seen.size() / self.dims)
            text = {"bicubic": self.labels[0], "sr": self.labels[1],
                    "difference": self.tr("Difference of luma ×8") if self._painted.difference
                    else self.labels[1]}[side]
            right = side == "sr" and (self._mode is Mode.SPLIT or self._mode is Mode.SIDE)
            _paint_label(painter, seen, text, right)
        has_loupe = self._loupe and self._mouse is not None and bool(self._loupe_draws())
        if self._mode is Mode.SPLIT and not self._peek:
            painter.save()
            if has_loupe:
                first, second = (QRectF(rect.topLeft() / self.dims, rect.size() / self.dims)
                                 for rect in self._loupe_rects())
                free = QRegion(self.rect()) - QRegion(first.united(second).toRect())
                painter.setClipRegion(free)
            self._paint_split(painter)
            painter.restore()
        if has_loupe:
            for rect, text in zip(self._loupe_rects(), self.labels, strict=True):
                around = QRectF(rect.x() / self.dims, rect.y() / self.dims, _LOUPE, _LOUPE)
                painter.setPen(QPen(QColor(255, 255, 255, 200), 1))
                painter.setBrush(Qt.BrushStyle.NoBrush)
                painter.drawRect(around)
                _paint_label(painter, around, text.partition(" ·")[0], False, 4)

    def _paint_split(self, painter: QPainter) -> None:
        x, height = self._line() / self.dims, self.height()
        painter.setPen(QPen(QColor(0, 0, 0, 90), 3))
        painter.drawLine(QPointF(x, 0), QPointF(x, height))
        painter.setPen(QPen(QColor(255, 255, 255, 230), 1))
        painter.drawLine(QPointF(x, 0), QPointF(x, height))
        if self._drag != "split" and not self._is_near(self._mouse):
            return
        y = height / 2 if self._mouse is None else min(max(self._mouse.y(), _GRIP + 2), height - _GRIP - 2)
        painter.setBrush(QColor(27, 27, 29, 200))
        painter.drawEllipse(QPointF(x, y), _GRIP, _GRIP)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(255, 255, 255))
        for way in (-1, 1):
            tip = QPointF(x + way * 8, y)
            painter.drawPolygon(QPolygonF([tip, tip + QPointF(-way * 4.5, -4), tip + QPointF(-way * 4.5, 4)]))

    def painted(self, begun: float) -> None:
        """A painter is done; it began at that `time.perf_counter`."""
        if self._is_new:
            self._is_new = False
            self.drawn.emit(1000 * (time.perf_counter() - begun))

    # ---- mouse and fingers -----------------------------------------------------------------------------------------

    def _is_near(self, at: QPointF | None) -> bool:
        """Whether the split can be taken there."""
        on = self._mode is Mode.SPLIT and not self._peek and self._shape is not None
        return on and at is not None and abs(at.x() - self._line() / self.dims) <= _NEAR

    def _can_pan(self) -> bool:
        pane = self._panes()[0][0]
        place = self._place(pane) if self._shape else QRectF(pane)
        return place.width() > pane.width() + 1 or place.height() > pane.height() + 1

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() is not Qt.MouseButton.LeftButton or self._shape is None:
            return
        self._drag_from = event.position()
        split = self._mode is Mode.SPLIT and not self._peek
        self._drag = "split" if self._is_near(event.position()) or (split and not self._can_pan()) else "pan"
        self._pointed(event.position())
        if self._drag == "split" and self._is_near(event.position()):
            self._changed()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        at = event.position()
        self._mouse = at
        if self._drag == "split":
            self.split = at.x() / max(1, self.width())
        elif self._drag == "pan":
            self.pan(at - self._drag_from)
            self._drag_from = at
        self._pointed(at)
        self.surface.update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self._drag = None
        self._pointed(event.position())
        self._changed()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        if event.button() is Qt.MouseButton.LeftButton and not self._is_near(event.position()):
            self.one_to_one(event.position()) if self.fits else self.fit()

    def enterEvent(self, event: QEnterEvent) -> None:
        self._mouse = event.position()

    def leaveEvent(self, event: QEvent) -> None:
        self._mouse = None
        self.surface.update()

    def wheelEvent(self, event: QWheelEvent) -> None:
        if not event.pixelDelta().isNull() and not event.modifiers() and event.source() is not None and (
                event.phase() is not Qt.ScrollPhase.NoScrollPhase):
            self.pan(QPointF(event.pixelDelta()))  # two fingers on a touchpad
        else:
            self.zoom(_STEP ** (event.angleDelta().y() / 120), event.position())
        event.accept()

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QNativeGestureEvent) and event.gestureType() is Qt.NativeGestureType.ZoomNativeGesture:
            self.zoom(1 + event.value(), event.position())
            return True
        if event.type() is QEvent.Type.Gesture:
            pinch = event.gesture(Qt.GestureType.PinchGesture)  # type: ignore[attr-defined]
            if isinstance(pinch, QPinchGesture):
                self.zoom(pinch.scaleFactor(), QPointF(self.mapFromGlobal(pinch.hotSpot().toPoint())))
                return True
        return super().event(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._changed()

    def _pointed(self, at: QPointF) -> None:
        shape = Qt.CursorShape.ArrowCursor
        if self._drag == "split" or (self._drag is None and self._is_near(at)):
            shape = Qt.CursorShape.SplitHCursor
        elif self._drag == "pan":
            shape = Qt.CursorShape.ClosedHandCursor
        elif self._shape is not None and self._can_pan():
            shape = Qt.CursorShape.OpenHandCursor
        self.setCursor(shape)


def _snapped(zoom: float, larger: bool) -> float:
    """The zoom to take instead: 1 where it is about that, and only whole numbers from 2 on."""
    if zoom >= _WHOLE:
        return math.ceil(zoom - 1e-6) if larger else math.floor(zoom + 1e-6)
    return 1.0 if abs(zoom - 1) < 1e-3 else zoom


def _surface(canvas: Canvas, gpu: bool | None) -> RasterSurface | GlSurface:
    if gpu is not False:
        from ui import opengl

        if gpu or opengl.has_gpu():
            return opengl.GlSurface(canvas)
    return RasterSurface(canvas)


def _paint_label(painter: QPainter, within: QRectF, text: str, right: bool, margin: int = 12) -> None:
    """A name in an upper corner; left out where it does not fit."""
    metrics = QFontMetrics(painter.font())
    size = QRectF(0, 0, metrics.horizontalAdvance(text) + 16, metrics.height() + 6)
    if not text or size.width() + 2 * margin > within.width() or size.height() + 2 * margin > within.height():
        return
    x = within.right() - margin - size.width() if right else within.left() + margin
    size.moveTopLeft(QPointF(x, within.top() + margin))
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(0, 0, 0, 150))
    painter.drawRoundedRect(size, 5, 5)
    painter.setPen(QColor(255, 255, 255, 235))
    painter.drawText(size, Qt.AlignmentFlag.AlignCenter, text)
