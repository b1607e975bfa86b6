"""What paints a canvas: here Qt's raster painter, in `ui.opengl` a graphics processor. Both make the same pixels."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PySide6.QtCore import QRect, Qt
from PySide6.QtGui import QImage, QPainter, QPaintEvent, QTransform
from PySide6.QtWidgets import QWidget

from ui.theme import CANVAS

if TYPE_CHECKING:
    from ui.canvas import Canvas


class Draw(NamedTuple):
    """``pixels`` (H, W, 4) BGRA, brought to the screen by ``place``, drawn within ``clip`` (screen pixels)."""

    pixels: np.ndarray
    place: QTransform
    clip: QRect
    smooth: bool


class RasterSurface(QWidget):
    """Paints with the processor. Qt's bilinear filter knows 256 steps between two pixels."""

    def __init__(self, canvas: Canvas) -> None:
        super().__init__(canvas)
        self._canvas = canvas
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)

    def paintEvent(self, event: QPaintEvent) -> None:
        begun = time.perf_counter()
        painter = QPainter(self)
        painter.fillRect(self.rect(), CANVAS)
        back = 1 / self.devicePixelRatioF()
        for draw in self._canvas.scene():
            painter.setTransform(QTransform.fromScale(back, back))
            painter.setClipRect(draw.clip)
            painter.setTransform(draw.place * QTransform.fromScale(back, back))
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, draw.smooth)
            height, width = draw.pixels.shape[:2]
            picture = QImage(draw.pixels.data, width, height, draw.pixels.strides[0], QImage.Format.Format_RGB32)
            painter.drawImage(0, 0, picture)
        painter.resetTransform()
        painter.setClipping(False)
        self._canvas.paint_over(painter)
        painter.end()
        self._canvas.painted(begun)

    def release(self) -> None:
        """It holds nothing."""
