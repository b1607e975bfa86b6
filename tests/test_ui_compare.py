"""The window as a person uses it: opens, plays, compares, saves, exports, closes; and leaves nothing behind."""

from __future__ import annotations

import gc
import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from conftest import Clip, Nearest, paint

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
pytest.importorskip("pytestqt", reason="the window's tests need pytest-qt")

from PySide6.QtCore import QMimeData, QPoint, QPointF, QSettings, Qt, QThread, QTimer, QUrl
from PySide6.QtGui import QDropEvent, QGuiApplication
from PySide6.QtWidgets import (
    QApplication,
    QFileDialog,
    QLabel,
    QWidget,
)
from pytestqt.qtbot import QtBot
from test_leaks import HANDLES, handles
from test_ui_canvas import move_mouse

import vsr
from ui import theme
from ui.app import Faults
from ui.bridge import Source
from ui.canvas import Mode
from ui.compare import ComparePage
from ui.window import Window
from vsr.media.decode import Decoder
from vsr.media.picture import seen_color
from vsr.player import Player
from vsr.sides import Sides

ROOT = Path(__file__).parents[1]
WAIT_MS = 120_000
RATE = 25
GUI = threading.get_ident()


class Watched(Nearest):
    """Notes the threads in which it works, and may take its time."""

    threads: set[int]
    pause_s = 0.0
    free = threading.Event()  # it waits where that is cleared
    waiting = False

    def _run(self, luma: np.ndarray, out: np.ndarray) -> None:
        Watched.threads.add(threading.get_ident())
        time.sleep(self.pause_s)
        Watched.waiting = not self.free.is_set()
        assert self.free.wait(WAIT_MS / 1000)
        Watched.waiting = False
        super()._run(luma, out)


@pytest.fixture
def settings(tmp_path: Path) -> QSettings:
    return QSettings(str(tmp_path / "settings.ini"), QSettings.Format.IniFormat)


@pytest.fixture
def window(qtbot: QtBot, settings: QSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Window]:
    """The window with a simple engine; its player and exports are real, its pictures' folder is a temporary one."""
    Watched.threads = set()
    Watched.free.set()
    monkeypatch.setattr(vsr, "Player", partial(Player, engines=Watched), raising=False)
    monkeypatch.setattr("ui.compare.QStandardPaths.writableLocation", lambda place: str(tmp_path / "pictures"))
    yield from opened(qtbot, settings)


def opened(qtbot: QtBot, settings: QSettings) -> Iterator[Window]:
    theme.apply(QApplication.instance())  # type: ignore[arg-type]
    window = Window(settings, ("compare", "about"))
    window.resize(1000, 640)
    window.show()
    qtbot.waitExposed(window)
    yield window
    window._sure = True
    window.close()
    assert not [thread for thread in window.findChildren(QThread) if thread.isRunning()]
    assert GUI not in Watched.threads  # the window's thread computes nothing


def page_of(window: Window) -> ComparePage:
    page = window.pages["compare"]
    assert isinstance(page, ComparePage)
    return page


def player_of(window: Window) -> Player:
    player = page_of(window).bridge.player
    assert player is not None
    return player


def shown(window: Window) -> vsr.Shown:
    found = page_of(window)._shown
    assert found is not None
    return found


def open_clip(qtbot: QtBot, window: Window, path: Path, play: bool = False) -> ComparePage:
    page = page_of(window)
    page.open([path], play)
    qtbot.waitUntil(lambda: page._shown is not None and page._shown.engine is not None, timeout=WAIT_MS)
    return page


def on_screen(page: ComparePage) -> np.ndarray:
    """What the canvas shows, without what is laid over it: (H, W, 3) BGR."""
    over, page.canvas.paint_over = page.canvas.paint_over, lambda painter: None  # type: ignore[method-assign]
    picture = page.canvas.grab().toImage()
    page.canvas.paint_over = over  # type: ignore[method-assign]
    shape = picture.height(), picture.bytesPerLine() // 4, 4
    return np.frombuffer(picture.constBits(), np.uint8).reshape(shape)[:, : picture.width(), :3].copy()


@pytest.fixture
def long(clip: Clip) -> Path:
    return clip("a.mp4", pts=range(0, 50 * 512, 512), size=(96, 64), audio=1)


# ---- opening and playing -------------------------------------------------------------------------------------------


def test_a_dropped_video_plays_to_its_end(qtbot: QtBot, window: Window, long: Path) -> None:
    held = QMimeData()
    held.setUrls([QUrl.fromLocalFile(str(long))])
    window.dropEvent(QDropEvent(QPointF(50, 50), Qt.DropAction.CopyAction, held, Qt.MouseButton.LeftButton,
                                Qt.KeyboardModifier.NoModifier))
    page = page_of(window)
    qtbot.waitUntil(lambda: page._shown is not None and player_of(window).ended
                    and page.transport.bar.value() > 1900, timeout=WAIT_MS)
    assert window.windowTitle() == "a.mp4 – VSR" and player_of(window).meter().shown > 1
    page.toggle_playing()
    page.set_looping(True)  # so that it is there again where the machine missed it
    qtbot.waitUntil(lambda: shown(window).time < 1, timeout=WAIT_MS)
    qtbot.keyClick(page.canvas, Qt.Key.Key_Space)
    assert not player_of(window).playing


def test_steps_seeks_and_loops_are_exact(qtbot: QtBot, window: Window, long: Path) -> None:
    page = open_clip(qtbot, window, long)

    def at(time: Fraction) -> None:
        qtbot.waitUntil(lambda: shown(window).time == time, timeout=WAIT_MS)

    for key in (Qt.Key.Key_Right, Qt.Key.Key_Right, Qt.Key.Key_Left):
        qtbot.keyClick(page.canvas, key)
    at(Fraction(1, RATE))
    page.transport.bar.setFocus()
    x = page.transport.bar._x(1.0)
    qtbot.mouseClick(page.transport.bar, Qt.MouseButton.LeftButton, pos=QPoint(round(x), 8))
    qtbot.waitUntil(lambda: abs(shown(window).time - 1) < Fraction(1, 10), timeout=WAIT_MS)
    page.seek(0.4)
    at(Fraction(10, RATE))
    qtbot.keyClick(page.canvas, Qt.Key.Key_I)
    page.seek(0.8)
    at(Fraction(20, RATE))
    qtbot.keyClick(page.canvas, Qt.Key.Key_O)
    page.seek(0.44)
    at(Fraction(11, RATE))
    seen: list[Fraction] = []
    take = page._take

    def taken() -> None:
        take()
        seen.append(shown(window).time)

    page.bridge.arrived.disconnect()
    page.bridge.arrived.connect(taken)
    page.toggle_playing()
    qtbot.waitUntil(lambda: sum(later < earlier for earlier, later in itertools.pairwise(list(seen))) >= 2,
                    timeout=WAIT_MS)  # it has gone round twice
    page.toggle_playing()
    assert min(seen) >= Fraction(2, 5) and max(seen) < Fraction(4, 5)
    qtbot.keyClick(page.canvas, Qt.Key.Key_R)
    assert not page._looping


def test_the_bar_shows_what_is_to_be_seen_at_a_time(qtbot: QtBot, window: Window, long: Path) -> None:
    page = open_clip(qtbot, window, long)
    bar = page.transport.bar
    pictures: list[np.ndarray] = []
    page._glances.made.connect(lambda pixels, orientation: pictures.append(pixels))
    with Decoder(long) as video:
        frames = [replace(item, color=seen_color(item.color, 96, 64)) for item in video if isinstance(item, vsr.Frame)]
    for seconds in (1.01, 0.22):
        x = round(bar._x(seconds))
        move_mouse(bar, QPoint(x, 8))
        wanted = vsr.on_screen(frames[int(bar._time(x) * RATE)])
        qtbot.waitUntil(lambda wanted=wanted: bool(pictures)  # type: ignore[misc]
                        and np.array_equal(pictures[-1], wanted), timeout=WAIT_MS)
    assert page._bubble.isVisible() and page._bubble._time.text().startswith("00:00.2")
    assert shown(window).time == 0  # where it stands, nothing changes
    bar.leaveEvent(None)
    assert not page._bubble.isVisible()


def test_another_model_takes_over_while_it_plays(qtbot: QtBot, window: Window, long: Path) -> None:
    page = open_clip(qtbot, window, long, play=True)
    page.set_looping(True)
    qtbot.waitUntil(lambda: page.inspector._boxes["model"].count() > 2, timeout=WAIT_MS)
    page.inspector.choose(model="bicubic", scale=3)
    page.inspector.chosen.emit()
    qtbot.waitUntil(lambda: shown(window).choice.scale == 3, timeout=WAIT_MS)
    assert player_of(window).playing and "Bicubic ×3" in page.canvas.labels[1]
    assert page.canvas._shape is not None and page.canvas._shape.seen == (288, 192)
    page.inspector.choose(model="fsrcnn-s-video")
    assert (page.inspector.choice.model, page.inspector.choice.scale) == ("fsrcnn-s-video", 3)


def test_what_cannot_be_opened_is_told_in_words(qtbot: QtBot, window: Window, tmp_path: Path, long: Path) -> None:
    wrong = tmp_path / "notes.mp4"
    wrong.write_text("no video")
    window.open([wrong])
    qtbot.waitUntil(lambda: "notes.mp4" in window._strip.said, timeout=WAIT_MS)
    page = page_of(window)
    assert page.bridge.player is None and page._middle.currentWidget() is page._empty
    open_clip(qtbot, window, long)
    assert page._recent == [str(long)] and all(each.isEnabled() for each in page.inspector._outputs)
    window.open([wrong])
    qtbot.waitUntil(lambda: page._middle.currentWidget() is page._empty, timeout=WAIT_MS)
    assert not any(each.isEnabled() for each in page.inspector._outputs)


def test_what_nobody_knows_the_length_of_is_gone_through_all_the_same(
    qtbot: QtBot, window: Window, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As browsers record: the bar reaches as far as was shown, End to the last frame, and a loop from there back."""
    path = tmp_path / "a.webm"
    with av.open(str(path), "w", format="webm", options={"live": "1"}) as container:
        video = container.add_stream("libvpx", rate=RATE, width=96, height=64)
        for number in range(50):
            frame = av.VideoFrame(96, 64, "yuv420p")
            paint(frame, number)
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    page = open_clip(qtbot, window, path)
    assert player_of(window).duration_s is None and not page.transport.bar.isEnabled()
    qtbot.keyClick(page.canvas, Qt.Key.Key_End)
    qtbot.waitUntil(lambda: shown(window).time == Fraction(49, RATE), timeout=WAIT_MS)
    assert page.transport.bar.isEnabled() and page.transport.bar.duration == 1.96
    assert page.transport._total.text() == "00:01.96"
    page.seek(0.4)
    qtbot.waitUntil(lambda: shown(window).time == Fraction(10, RATE), timeout=WAIT_MS)
    assert page.transport.bar.value() == 400 and page.transport.bar.duration == 1.96
    page.set_looping(True)
    page.seek(1.9)
    qtbot.waitUntil(lambda: shown(window).time > 1, timeout=WAIT_MS)
    page.toggle_playing()
    qtbot.waitUntil(lambda: shown(window).time < 1, timeout=WAIT_MS)
    page.toggle_playing()


def test_a_picture_is_no_video(qtbot: QtBot, window: Window, tmp_path: Path) -> None:
    assert cv2.imwrite(str(tmp_path / "a.png"), np.zeros((48, 64, 3), np.uint8))
    page = open_clip(qtbot, window, tmp_path / "a.png")
    page._tick()
    assert page.inspector.about.text() == "64×48, png"
    assert "/" not in page.inspector._numbers["fps"][1].text()
    assert not any(each.isEnabled() for each in (page.transport._play, page.transport._next, page.transport.bar))


def test_a_turned_video_has_the_size_that_is_seen(qtbot: QtBot, window: Window, clip: Clip) -> None:
    page = open_clip(qtbot, window, clip("a.mp4", size=(96, 64), rotation=90))
    assert page.inspector.about.text().startswith("64×96, ")


def test_long_names_are_cut_where_they_are_shown(qtbot: QtBot, window: Window, clip: Clip, tmp_path: Path) -> None:
    path = clip("a.mp4").rename(tmp_path / ("long_name_" * 24 + ".mp4"))
    page = open_clip(qtbot, window, path)
    label = page.inspector.file
    assert label.text() == label.toolTip() == path.name
    assert label.geometry().right() < page.inspector.opener.geometry().left()
    page.save_frame()
    qtbot.waitUntil(lambda: "compared.png" in window._strip.said, timeout=WAIT_MS)  # file systems have room for it
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert len(names) == 3 and all(name.startswith("long_name_long_name_") for name in names)
    assert len(window._strip.said) < 200 and "long_name_long_name_" in window._strip.said
    window.resize(window.minimumSize())
    page._export_name.setText(f"Exporting {path.name}")
    page._exporting.show()
    qtbot.waitUntil(lambda: page._export_name.width() > 0 and page._exporting.width() <= page.width())
    assert window.size() == window.minimumSize()
    missing = tmp_path / "missing.mp4"
    window.open([missing])
    qtbot.waitUntil(lambda: window._strip.said.startswith("missing.mp4 does not exist"), timeout=WAIT_MS)
    assert page.inspector._numbers["upscale"][1].text() == "–"


# ---- looking -------------------------------------------------------------------------------------------------------


def test_the_split_is_dragged_and_only_what_is_seen_is_computed(qtbot: QtBot, window: Window, long: Path) -> None:
    page = open_clip(qtbot, window, long)
    canvas = page.canvas
    middle = canvas.rect().center()
    left = QPoint(canvas.width() // 4, middle.y())
    qtbot.mousePress(canvas, Qt.MouseButton.LeftButton, pos=middle)
    move_mouse(canvas, left, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: shown(window).bicubic is not None and shown(window).sr is not None
                    and shown(window).bicubic.box == shown(window).sr.box, timeout=WAIT_MS)  # type: ignore[union-attr]
    qtbot.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=left)
    assert abs(canvas.split - 0.25) < 0.02

    def narrow() -> bool:
        now = shown(window)
        return (now.bicubic is not None and now.sr is not None and now.bicubic.box.right < 60
                and now.sr.box.left > 0 and now.sr.box.right == 96)

    qtbot.waitUntil(narrow, timeout=WAIT_MS)
    for key, wanted in ((Qt.Key.Key_A, (None, 96)), (Qt.Key.Key_A, (96, None)), (Qt.Key.Key_T, (96, 96)),
                        (Qt.Key.Key_D, (96, 96))):
        qtbot.keyClick(canvas, key)
        qtbot.waitUntil(lambda wanted=wanted: tuple(  # type: ignore[misc]
            side and side.box.right for side in (shown(window).bicubic, shown(window).sr)) == wanted, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: canvas._painted.difference is not None, timeout=WAIT_MS)
    qtbot.keyPress(canvas, Qt.Key.Key_B)
    assert [side for _, side in canvas._panes()] == ["bicubic"]
    qtbot.keyRelease(canvas, Qt.Key.Key_B)
    assert [side for _, side in canvas._panes()] == ["difference"]


def test_zoom_keeps_what_is_under_the_pointer(qtbot: QtBot, window: Window, long: Path) -> None:
    page = open_clip(qtbot, window, long)
    canvas = page.canvas
    assert canvas.fits
    at = QPointF(canvas.width() * 0.6, canvas.height() * 0.55)

    def under() -> tuple[float, float]:
        place = canvas._place(canvas._panes()[0][0])
        return (at.x() - place.x()) / place.width(), (at.y() - place.y()) / place.height()

    before = under()
    canvas.zoom(4, at)
    assert under() == pytest.approx(before, abs=0.01)
    assert canvas.percent % 100 == 0  # large pixels are whole
    box = canvas.view().sr
    assert box is not None and box.width < 96
    qtbot.mouseDClick(canvas, Qt.MouseButton.LeftButton, pos=QPoint(20, 20))
    assert canvas.fits
    qtbot.keyClick(canvas, Qt.Key.Key_Z)
    assert canvas.percent == 100
    canvas.zoom(1 / 3)
    qtbot.waitUntil(lambda: canvas._painted.sr is not None and canvas._painted.sr.pixels.shape[1]
                    == 2 * canvas._painted.sr.box.width // 3, timeout=WAIT_MS)  # no more than there is to be seen
    canvas.zoom(24)
    canvas.pan(QPointF(1e6, 1e6))
    place = canvas._place(canvas._panes()[0][0])
    assert (place.x(), place.y()) == (0, 0)  # no further than to the edge


def test_a_saved_frame_is_what_the_engine_makes_and_what_is_on_screen(
    qtbot: QtBot, window: Window, clip: Clip, tmp_path: Path
) -> None:
    path = clip("a.mkv", size=(96, 64), color=(1, 1, 1, 1))
    page = open_clip(qtbot, window, path)
    qtbot.keyClick(page.canvas, Qt.Key.Key_Right)
    qtbot.waitUntil(lambda: shown(window).time == Fraction(1, RATE), timeout=WAIT_MS)
    qtbot.keyClick(page.canvas, Qt.Key.Key_P)
    qtbot.waitUntil(lambda: "compared.png" in window._strip.said, timeout=WAIT_MS)
    assert "bicubic.png" in window._strip.said and len(window._strip._waiting) == 1  # all in one message
    assert "0.040s" in window._strip.said
    saved = {path.stem.rpartition("s-")[2]: cv2.imread(str(path)) for path in (tmp_path / "pictures").iterdir()}
    names = [path.name for path in (tmp_path / "pictures").iterdir()]
    assert len(saved) == 3, names
    page.save_frame()  # once more, of the same frame
    qtbot.waitUntil(lambda: "-2-compared.png" in window._strip.said, timeout=WAIT_MS)
    player = player_of(window)
    frame = shown(window).source
    with Sides(page.inspector.choice, player.layout, False, frame.color.chroma_location, Nearest) as sides:
        made = sides.sr(frame)
    assert made is not None
    wanted = vsr.on_screen(made.frame)[..., :3]
    mine = next(cv2.imread(str(path)) for path in (tmp_path / "pictures").iterdir() if "s-fsrcnn-s" in path.name)
    np.testing.assert_array_equal(mine, wanted)
    qtbot.keyClick(page.canvas, Qt.Key.Key_A)  # the model's side alone
    qtbot.keyClick(page.canvas, Qt.Key.Key_Z)
    qtbot.waitUntil(lambda: page.canvas._painted.sr is not None
                    and page.canvas._painted.sr.pixels.shape == (128, 192, 4), timeout=WAIT_MS)
    picture, place = on_screen(page), page.canvas._place(page.canvas._panes()[0][0]).toRect()
    np.testing.assert_array_equal(picture[place.top() : place.top() + 128, place.left() : place.left() + 192], wanted)


def test_both_sides_are_measured_against_the_truth(qtbot: QtBot, window: Window, long: Path) -> None:
    page = open_clip(qtbot, window, long)
    page.measure("restore")
    qtbot.waitUntil(lambda: page._shown is not None and page._shown.scores is not None, timeout=WAIT_MS)
    scores = shown(window).scores
    assert scores is not None and shown(window).source.width == 48
    assert page.inspector._score["bicubic"][0].text() == f"{scores.bicubic.psnr:.2f}"
    assert page.inspector._scores.isVisible()
    page.measure("")
    assert not page.inspector._scores.isVisible()
    qtbot.waitUntil(lambda: shown(window).source.width == 96, timeout=WAIT_MS)


def test_there_is_bicubic_until_the_engine_is_there(
    qtbot: QtBot, window: Window, long: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = threading.Event()

    def late(*args: Any, **kwargs: Any) -> Watched:
        assert ready.wait(WAIT_MS / 1000)
        return Watched(*args, **kwargs)

    monkeypatch.setattr(vsr, "Player", partial(Player, engines=late), raising=False)
    page = page_of(window)
    page.open([long], play=False)
    assert "a.mp4" in page.canvas.hint
    try:
        qtbot.waitUntil(lambda: page._shown is not None and page.canvas._painted.sr is not None, timeout=WAIT_MS)
        early = shown(window)
        assert early.is_early and early.engine is None and "prepared" in page.canvas.labels[1]
        assert early.sr is not None
        with Sides(vsr.Choice(), player_of(window).layout, False, early.source.color.chroma_location, None) as sides:
            wanted = sides.bicubic(early.source, early.sr.box)
        assert wanted is not None
        np.testing.assert_array_equal(early.sr.frame.luma, wanted.frame.luma)
        page.set_mode(Mode.DIFFERENCE)
        page.save_frame()  # which waits for the model
    finally:
        ready.set()
    qtbot.waitUntil(lambda: not shown(window).is_early and page.canvas._painted.difference is not None,
                    timeout=WAIT_MS)
    assert shown(window).engine == "nearest" and "prepared" not in page.canvas.labels[1]
    qtbot.waitUntil(lambda: "fsrcnn-s" in window._strip.said, timeout=WAIT_MS)


def test_a_result_lies_over_its_source(qtbot: QtBot, window: Window, long: Path, clip: Clip) -> None:
    # Its container rounds times, and no engine makes its pixels
    result = clip("b.mkv", size=(192, 128), pts=range(0, 60 * 512, 512))
    page = page_of(window)
    window.go("result", [long, result])
    qtbot.waitUntil(lambda: page._shown is not None and page.canvas._painted.sr is not None, timeout=WAIT_MS)
    player_of(window).pause()
    assert "b.mkv" in page.canvas.labels[1]
    page.set_mode(Mode.SIDE)
    with Decoder(result) as video:
        frames = [item for item in video if isinstance(item, vsr.Frame)]
    for number in (7, 23):
        page.seek(number / RATE + 0.01)
        qtbot.waitUntil(lambda number=number: shown(window).time == Fraction(number, RATE)  # type: ignore[misc]
                        and shown(window).sr is not None, timeout=WAIT_MS)
        side = shown(window).sr
        assert side is not None
        box = side.box.times(2)
        np.testing.assert_array_equal(side.frame.luma, frames[number].luma[box.top : box.bottom, box.left : box.right])
    page.save_frame()
    qtbot.waitUntil(lambda: "result.png" in window._strip.said, timeout=WAIT_MS)
    page.ask_for_export()
    assert page._export is None and "as it is" in window._strip.said
    page._choose()  # a model is wanted again
    qtbot.waitUntil(lambda: "nearest" in page.canvas.labels[1], timeout=WAIT_MS)
    assert page.bridge.player is not None and shown(window).choice == page.inspector.choice
    window.go("result", [long, long])  # which is no larger
    qtbot.waitUntil(lambda: "cannot be laid" in window._strip.said and page.bridge.player is not None, timeout=WAIT_MS)
    assert page._path == long and page._result is None


def test_a_reference_that_cannot_be_read_costs_nothing_else(
    qtbot: QtBot, window: Window, long: Path, tmp_path: Path
) -> None:
    page = open_clip(qtbot, window, long)
    (tmp_path / "notes.mp4").write_text("no video")
    page.measure("reference", tmp_path / "notes.mp4")
    qtbot.waitUntil(lambda: "notes.mp4" in window._strip.said and page.bridge.player is not None, timeout=WAIT_MS)
    assert page._path == long and page._truth == "" and page._middle.currentWidget() is page.canvas


def test_messages_leave_controls_free_and_the_newest_is_seen(qtbot: QtBot, window: Window, long: Path) -> None:
    page = open_clip(qtbot, window, long)
    window.resize(window.minimumSize())
    first = "Saved a picture with a name that is long enough for all of it"
    window.tell(first, "Show folder", lambda: None)
    strip = window._strip

    def free() -> bool:
        place = strip.geometry()
        return not any(place.intersects(each.rect().translated(each.mapTo(window, QPoint())))
                       for each in (page.inspector, page.transport, page._exporting) if each.isVisible())

    qtbot.waitUntil(free, timeout=WAIT_MS)
    page._exporting.show()
    qtbot.waitUntil(free, timeout=WAIT_MS)
    window.tell("It failed", "Again", lambda: None)
    assert strip.said == "It failed"
    window.tell("It went well")
    assert strip.said == "It went well"
    for said in ("It failed", first, ""):
        strip.dismiss()
        assert strip.said == said


def test_the_picture_alone_fills_the_screen(qtbot: QtBot, window: Window, long: Path) -> None:
    page = open_clip(qtbot, window, long)
    for bare in (True, False):
        qtbot.keyClick(page.canvas, "F")
        assert window.isFullScreen() is bare
        assert page.inspector.isVisible() is window._rail.isVisible() is not bare
        if not bare:
            assert page.transport.isVisible() and not page._full._still.isActive()
            continue
        assert page._full._still.isActive()
        page.transport.setAttribute(Qt.WidgetAttribute.WA_UnderMouse, False)  # wherever other tests have left it
        page._full._hide()
        assert not page.transport.isVisible()
        move_mouse(page.canvas, QPoint(99, 99))
        assert page.transport.isVisible() and page._full._still.isActive()
        page._full._hide()
        assert page.transport.isVisible() is False
        page.canvas.setFocus()
        qtbot.keyClick(page.canvas, Qt.Key.Key_Tab)  # who has no mouse finds them, too
        assert page.transport.isVisible() and page.transport.isAncestorOf(QApplication.focusWidget())
        page._full._hide()
        assert page.transport.isVisible()  # as long as they have the focus
        move_mouse(page.canvas, QPoint(98, 98))
        page._full._hide()
        assert not page.transport.isVisible() and QApplication.focusWidget() is page.canvas
        move_mouse(page.canvas, QPoint(99, 99))
        row = page.transport.geometry()
        qtbot.waitUntil(lambda: page.canvas.size() == page.size(), timeout=WAIT_MS)  # it lies over the picture
        assert (row.left(), row.width(), row.bottom()) == (0, page.width(), page.rect().bottom())


# ---- sound ---------------------------------------------------------------------------------------------------------


def test_a_device_pulls_the_sound_that_belongs_to_the_picture(qtbot: QtBot, window: Window, long: Path) -> None:
    page = open_clip(qtbot, window, long)
    player = player_of(window)
    assert player.has_sound and page.transport.volume.isEnabled()
    source = Source(player, lambda: 0.02)
    assert set(source.readData(8000)) == {0}  # at a pause there is none
    page.set_looping(True)
    page.toggle_playing()
    heard: list[np.ndarray] = []

    def loud() -> bool:
        heard.append(np.frombuffer(source.readData(8 * 4800), np.float32))
        return bool(np.abs(heard[-1]).max() > 0.1)

    qtbot.waitUntil(loud, timeout=WAIT_MS)
    assert all(block.size == 4800 * 2 for block in heard)
    source.close()


# ---- exports and the end -------------------------------------------------------------------------------------------


def test_a_comparison_is_exported_beside_the_playing(
    qtbot: QtBot, window: Window, long: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vsr.pipeline import run

    monkeypatch.setattr(vsr, "run", partial(run, engines=Watched), raising=False)
    page = open_clip(qtbot, window, long)
    page._loop = Fraction(2, 5), Fraction(4, 5)
    page.set_looping(True)
    target = tmp_path / "both.mp4"
    page.export(target)
    assert page.busy() and page._exporting.isVisible()
    page.ask_for_export()
    assert "already" in window._strip.said and page.findChild(QFileDialog) is None
    qtbot.waitUntil(lambda: "both.mp4" in window._strip.said, timeout=WAIT_MS)
    assert target.exists() and not page.busy() and vsr.probe(target).streams
    assert not page._exporting.isVisible()


@pytest.mark.parametrize("mode", [Mode.SPLIT, Mode.SIDE])
def test_a_comparison_of_a_picture_is_a_picture(
    mode: Mode, qtbot: QtBot, window: Window, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vsr.pipeline import run

    monkeypatch.setattr(vsr, "run", partial(run, engines=Watched), raising=False)
    assert cv2.imwrite(str(tmp_path / "a.png"), np.random.default_rng(1).integers(0, 256, (48, 64, 3), np.uint8))
    page = open_clip(qtbot, window, tmp_path / "a.png")
    page.set_mode(mode)
    page.set_looping(True)  # which means nothing here
    page.ask_for_export()
    dialog = page.findChild(QFileDialog)
    assert dialog is not None
    (proposed,) = dialog.selectedFiles()
    assert Path(proposed) == tmp_path / "a-compared.png"
    dialog.filesSelected.emit([proposed])
    dialog.close()
    qtbot.waitUntil(lambda: "a-compared.png" in window._strip.said, timeout=WAIT_MS)
    made = cv2.imread(proposed)
    assert made is not None and made.shape == (96, 128 if mode is Mode.SPLIT else 256, 3)


def test_closing_while_working_asks_once_and_leaves_nothing(
    qtbot: QtBot, window: Window, long: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vsr.pipeline import run

    class Slow(Watched):
        pause_s = 0.2

    monkeypatch.setattr(vsr, "run", partial(run, engines=Slow), raising=False)
    page = open_clip(qtbot, window, long, play=True)
    page.export(tmp_path / "both.mp4")
    window.close()
    question = window._question
    assert question is not None and window.isVisible() and "exported" in question.informativeText()
    window.close()
    assert window._question is question  # once
    stay = question.escapeButton()
    assert stay is not None
    stay.click()
    assert window.isVisible() and page.busy()
    window.close()
    again = window._question
    assert again is not None
    stop = next(button for button in again.buttons() if button.text() == "Stop and close")
    stop.click()
    qtbot.waitUntil(lambda: not window.isVisible(), timeout=WAIT_MS)
    assert page.bridge.player is None and not page.busy()
    assert sorted(path.name for path in tmp_path.iterdir() if "both" in path.name) == []
    gc.collect()
    if HANDLES.is_dir():
        assert [name for name in handles() if name.endswith(".mp4")] == []


def test_what_was_chosen_comes_back(qtbot: QtBot, window: Window, settings: QSettings, long: Path) -> None:
    page = open_clip(qtbot, window, long)
    qtbot.waitUntil(lambda: page.inspector._boxes["model"].count() > 2, timeout=WAIT_MS)
    page.inspector.choose(model="bicubic", scale=3, precision="fp32")
    page.set_mode(Mode.SIDE)
    page.transport.volume.setValue(33)
    page.transport.mute.setChecked(True)
    page.canvas.split = 0.3
    window.close()
    for later in opened(qtbot, settings):
        page = page_of(later)
        qtbot.waitUntil(lambda page=page: page.inspector._boxes["model"].count() > 2,  # type: ignore[misc]
                        timeout=WAIT_MS)
        choice = page.inspector.choice
        assert (choice.model, choice.scale, choice.precision) == ("bicubic", 3, "fp32")
        assert page.canvas.mode is Mode.SIDE and page.canvas.split == 0.3
        assert page.transport.loudness == 0 and page.transport.volume.value() == 33
        assert page._recent == [str(long)]


# ---- the window's thread -------------------------------------------------------------------------------------------


def test_the_window_stays_awake_while_an_engine_is_slow(qtbot: QtBot, window: Window, long: Path) -> None:
    """It is panned, zoomed and repainted all the time that one frame takes, and waits for it no moment."""
    page = open_clip(qtbot, window, long)
    gaps: list[float] = []
    last = time.perf_counter()

    def beat() -> None:
        nonlocal last
        now = time.perf_counter()
        gaps.append(now - last)
        last = now

    timer = QTimer(interval=1)
    timer.timeout.connect(beat)
    Watched.free.clear()
    try:
        page.toggle_playing()
        qtbot.waitUntil(lambda: Watched.waiting, timeout=WAIT_MS)
        begun = last = time.perf_counter()
        timer.start()
        for turn in range(20):
            page.canvas.zoom(1.5 if turn % 2 else 0.7)
            page.canvas.split = turn / 20
            page.seek(turn / 20)
            qtbot.wait(100)
        timer.stop()
        assert Watched.waiting
    finally:
        Watched.free.set()
    took = time.perf_counter() - begun
    print(f"longest stall {1000 * max(gaps):.0f} ms, a frame {1000 * took:.0f} ms")
    assert max(gaps) < took / 2


def test_the_window_opens_without_a_decoder_or_framework(tmp_path: Path) -> None:
    code = (
        "import sys; from PySide6.QtCore import QSettings; from ui.app import application\n"
        "from ui.window import Window\n"
        f"app = application([]); window = Window(QSettings({str(tmp_path / 's.ini')!r}, QSettings.Format.IniFormat))\n"
        "window.show(); app.processEvents(); window.repaint()\n"
        "print('loaded:', *{name.partition('.')[0] for name in sys.modules}); window.close()"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                         env={**os.environ, "PYTHONPATH": str(ROOT), "QT_QPA_PLATFORM": "offscreen",
                              "XDG_DATA_HOME": str(tmp_path)})
    loaded = set(run.stdout.rpartition("loaded:")[2].split())
    assert "PySide6" in loaded and not loaded & {"torch", "av", "cv2", "halide"}
    assert "QtMultimedia" not in run.stderr


def test_qt_keeps_its_hands_off_none() -> None:
    """PySide6 6.12 loses a reference to None with every call under Python 3.11, until the process dies."""
    widget = QWidget()
    before = sys.getrefcount(None)
    for _ in range(2000):
        widget.update()
    assert sys.getrefcount(None) > before - 1000


# ---- words and keys ------------------------------------------------------------------------------------------------


def test_an_error_of_our_own_is_told_with_its_details(
    qtbot: QtBot, window: Window, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    Faults(window).watch()
    try:
        raise ValueError("a made-up fault")
    except ValueError as error:
        sys.excepthook(type(error), error, error.__traceback__)
    qtbot.waitUntil(lambda: "a made-up fault" in window._strip.said, timeout=WAIT_MS)
    window._strip._does.click()
    copied = QGuiApplication.clipboard().text()
    assert "Traceback" in copied and f"VSR {vsr.__version__}" in copied
    assert "made-up" in capsys.readouterr().err


def test_the_machine_is_examined_in_another_process(qtbot: QtBot, window: Window) -> None:
    window.show_place("about")
    about: Any = window.pages["about"]
    qtbot.waitUntil(lambda: bool(about._facts), timeout=WAIT_MS)
    texts = {label.text() for label in about.findChildren(QLabel)}
    assert f"{about._facts['engine']} {about._facts['precision']}: {about._facts['why']}" in texts


