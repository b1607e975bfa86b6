"""What paints the canvas: OpenGL makes the pixels of the raster painter, and both show pictures as they are to be seen.

What needs a screen runs again on one of its own, where there is Xvfb.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
pytest.importorskip("pytestqt", reason="the window's tests need pytest-qt")

from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QImage, QMouseEvent
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

import vsr
from ui import opengl
from ui.bridge import Image, Painted
from ui.canvas import Canvas, Mode, Shape
from vsr.frame import turned

ROOT = Path(__file__).parents[1]
WIDTH, HEIGHT = 90, 60
WHOLE = vsr.Box(0, 0, WIDTH, HEIGHT)


def noise(seed: int) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 256, (2 * HEIGHT, 2 * WIDTH, 4), np.uint8)
    pixels[..., 3] = 255
    return pixels


def scenery() -> np.ndarray:
    """Soft, as pictures are."""
    return np.ascontiguousarray(cv2.GaussianBlur(noise(9), (0, 0), 3))


def pixels_of(picture: QImage) -> np.ndarray:
    picture = picture.convertToFormat(QImage.Format.Format_RGB32)
    shape = picture.height(), picture.bytesPerLine() // 4, 4
    return np.frombuffer(picture.constBits(), np.uint8).reshape(shape)[:, : picture.width(), :3].astype(int)


def shot(canvas: Canvas) -> np.ndarray:
    """What it shows, without what is laid over it."""
    QApplication.processEvents()
    if isinstance(canvas.surface, opengl.GlSurface):
        return pixels_of(canvas.surface.grabFramebuffer())
    return pixels_of(canvas.surface.grab().toImage())


def move_mouse(widget: QWidget, to: QPoint, held: Qt.MouseButton = Qt.MouseButton.NoButton) -> None:
    """Tell ``widget`` so, wherever a mouse is, and whichever windows lie over it."""
    at, none = QPointF(to), Qt.KeyboardModifier.NoModifier
    event = QMouseEvent(QEvent.Type.MouseMove, at, widget.mapToGlobal(at), Qt.MouseButton.NoButton, held, none)
    QApplication.sendEvent(widget, event)


def made(gpu: bool, qtbot: QtBot) -> Canvas:
    canvas = Canvas(gpu)
    canvas.paint_over = lambda painter: None  # type: ignore[method-assign]
    canvas.resize(420, 300)
    canvas.show()
    qtbot.addWidget(canvas)
    qtbot.waitExposed(canvas)
    return canvas


@pytest.fixture
def raster(qtbot: QtBot) -> Canvas:
    return made(False, qtbot)


@pytest.fixture
def both(raster: Canvas, qtbot: QtBot) -> Iterator[tuple[Canvas, Canvas]]:
    if opengl.renderer() is None:
        pytest.skip("there is no OpenGL 3.3 here")
    other = made(True, qtbot)
    yield raster, other
    other.shut()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_shown_as_they_are_to_be_seen(raster: Canvas, orientation: int) -> None:
    pixels = noise(1)
    raster.show_frame(Shape(WIDTH, HEIGHT, 2, orientation), Painted(sr=Image(WHOLE, pixels)))
    raster.mode = Mode.FLICKER
    raster.one_to_one()
    wanted = turned(pixels[..., :3], orientation)
    place = raster._place(raster._panes()[0][0]).toRect()
    assert (place.height(), place.width()) == wanted.shape[:2]
    picture = shot(raster)
    np.testing.assert_array_equal(
        picture[place.top() : place.top() + len(wanted), place.left() : place.left() + wanted.shape[1]], wanted)
    view = raster.view()
    assert view.sr == WHOLE and view.bicubic is None
    raster.zoom(8)
    raster.pan(QPointF(400, 400))  # to the upper left of what is seen
    seen = raster.view().sr
    assert seen is not None
    corner = turned(np.arange(WIDTH * HEIGHT).reshape(HEIGHT, WIDTH), orientation)[0, 0]
    y, x = divmod(int(corner), WIDTH)
    assert seen.left <= x < seen.right and seen.top <= y < seen.bottom and seen != WHOLE


def test_pixels_are_as_wide_as_the_video_says(raster: Canvas) -> None:
    raster.show_frame(Shape(WIDTH, HEIGHT, 2, 1, Fraction(16, 11)), Painted())
    place = raster._place(raster._panes()[0][0])
    assert place.width() / place.height() == pytest.approx(WIDTH * 16 / 11 / HEIGHT)


def test_a_part_lies_where_the_whole_has_it(raster: Canvas) -> None:
    pixels, box = noise(2), vsr.Box(16, 8, 64, 40)
    part = np.ascontiguousarray(pixels[2 * box.top : 2 * box.bottom, 2 * box.left : 2 * box.right])
    raster.mode = Mode.FLICKER
    shots = []
    for image in (Image(WHOLE, pixels), Image(box, part)):
        raster.show_frame(Shape(WIDTH, HEIGHT), Painted(sr=image))
        raster.one_to_one()
        shots.append(shot(raster))
    place = raster._place(raster._panes()[0][0]).toRect()
    rows = slice(place.top() + 2 * box.top, place.top() + 2 * box.bottom)
    columns = slice(place.left() + 2 * box.left, place.left() + 2 * box.right)
    np.testing.assert_array_equal(shots[0][rows, columns], shots[1][rows, columns])
    assert (shots[1][place.top() + 2, place.left() : place.right()] == shots[1][0, 0]).all()  # elsewhere is nothing


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("orientation", [1, 6])
def test_both_painters_make_the_same_pixels(both: tuple[Canvas, Canvas], mode: Mode, orientation: int) -> None:
    """All equal at whole zooms; between pixels within two, of noise within what Qt's filter rounds away."""
    for sharp in (True, False):
        pictures = [noise(seed) if sharp else scenery() for seed in (3, 4, 5)]
        painted = Painted(*(Image(WHOLE, pixels) for pixels in pictures))
        for zoom in (1.0, 2.0, 3.0, 5.0, 0.77, 1.37, None):
            shots = []
            for canvas in both:
                canvas.show_frame(Shape(WIDTH, HEIGHT, 2, orientation), painted)
                canvas.mode = mode
                if zoom is None:
                    canvas.fit()
                else:
                    canvas.zoom(100 * zoom / canvas.percent)
                canvas.pan(QPointF(13, -7))
                shots.append(shot(canvas))
            apart = np.abs(shots[0] - shots[1]).max()
            whole = zoom is not None and zoom == round(zoom)
            assert shots[0].std() > 5 and apart <= (0 if whole else 6 if sharp else 2), (sharp, zoom)


def test_the_loupe_shows_both_sides_of_one_place(raster: Canvas) -> None:
    same = noise(6)
    raster.show_frame(Shape(WIDTH, HEIGHT), Painted(Image(WHOLE, same), Image(WHOLE, same)))
    raster.loupe = True
    raster._mouse = QPointF(180, 120)
    assert raster.view() == vsr.View(WHOLE, WHOLE)
    left, right = raster._loupe_rects()
    picture = shot(raster)
    halves = [picture[r.top() : r.bottom() + 1, r.left() : r.right() + 1] for r in (left, right)]
    np.testing.assert_array_equal(*halves)
    assert halves[0].std() > 20


def on_a_screen(*arguments: str, **settings: str) -> str:
    """What a Python process says that has a screen of its own."""
    if shutil.which("xvfb-run") is None:
        pytest.skip("there is no Xvfb here")
    command = ["xvfb-run", "-a", "-s", "-screen 0 1400x900x24", sys.executable, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "QT_QPA_PLATFORM": "xcb", **settings}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    if "no Qt platform plugin could be initialized" in run.stderr:
        pytest.skip("the libraries of Qt's xcb are missing here")
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return run.stdout


@pytest.mark.skipif("QT_QPA_PLATFORM" in os.environ and os.environ["QT_QPA_PLATFORM"] != "offscreen",
                    reason="this is on a screen already")
@pytest.mark.parametrize("factor", ["1", "1.5"])
def test_all_this_on_a_screen(factor: str) -> None:
    """Also where a screen's pixel is smaller than a logical one."""
    said = on_a_screen("-m", "pytest", "-q", "-rs", "tests/test_ui_canvas.py", QT_SCALE_FACTOR=factor)
    assert " passed" in said


def test_the_window_on_a_screen(tmp_path: Path) -> None:
    """Opened by the command line, it paints, and Ctrl-C closes it."""
    code = (
        "import os, signal, sys, threading; from PySide6.QtCore import QTimer\n"
        "from ui import app; made = app.Window\n"
        "def window(settings):\n"
        "    page = made(settings, ('compare', 'about'))\n"
        "    timer = QTimer(page, interval=50)\n"
        "    def look():\n"
        "        shown = page.pages['compare']._shown\n"
        "        if shown is not None and shown.sr is not None:\n"
        "            timer.stop(); print('shown', page.windowTitle()); os.kill(os.getpid(), signal.SIGINT)\n"
        "    timer.timeout.connect(look); timer.start()\n"
        "    return page\n"
        "app.Window = window\n"
        "status = app.main(['assets/sample.mp4'])\n"
        "print('left', [t.name for t in threading.enumerate() if t is not threading.main_thread()], status)"
    )
    said = on_a_screen("-c", code, XDG_CONFIG_HOME=str(tmp_path))
    assert "shown sample.mp4 – VSR" in said and "left [] 0" in said
