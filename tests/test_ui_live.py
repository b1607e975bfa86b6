"""The Live page: starting, stopping, what is recorded and saved, what goes wrong, and that nothing is left running."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
pytest.importorskip("pytestqt", reason="the window's tests need pytest-qt")
pytest.importorskip("PySide6.QtWidgets", reason="the window needs Qt's libraries")

from conftest import Clip
from PySide6.QtCore import QPoint, QSettings, QStandardPaths, Qt, QTimer
from PySide6.QtWidgets import QAbstractButton, QComboBox
from test_ui_canvas import move_mouse

import vsr
from ui.canvas import Mode
from ui.live import LivePage

ARTEFACTS = os.environ.get("VSR_ARTEFACTS")


@pytest.fixture
def page(qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LivePage]:
    """The page with the test pattern chosen and bicubic for a model, which needs no compiling."""
    monkeypatch.setattr(QStandardPaths, "writableLocation", lambda kind: str(tmp_path))
    monkeypatch.setattr("vsr.live._STALLED_S", 60)  # no machine is so slow
    made = LivePage(gpu=False)
    qtbot.addWidget(made)
    made.told = []  # type: ignore[attr-defined]
    made.message.connect(lambda text, label, action: made.told.append((text, label, action)))  # type: ignore[attr-defined]
    made.resize(1280, 720)
    made.show()
    until(qtbot, lambda: made.source.count() and not made.bridge.finding)
    made.panel.set("model", "bicubic")
    made.source.setCurrentIndex(made.source.findData("test"))
    yield made
    made.shut()


def until(qtbot: Any, holds: Callable[[], object]) -> None:
    qtbot.waitUntil(lambda: bool(holds()), timeout=60_000)


def running(page: LivePage, qtbot: Any) -> vsr.Live:
    page.start()
    until(qtbot, lambda: page.bridge.live is not None and page.bridge.live.meter().frames > 3)
    assert page.bridge.live is not None
    return page.bridge.live


def said(page: Any) -> list[str]:
    return [text for text, _, _ in page.told]


def test_a_picture_is_started_shown_and_stopped(page: LivePage, qtbot: Any) -> None:
    assert page.wanted == "test" and page._start.text() == "Start" and not page._record.isEnabled()
    live = running(page, qtbot)
    until(qtbot, lambda: len(page.canvas.scene()) == 2)  # both sides of the split
    until(qtbot, lambda: "fps" in page.panel.mode.text())
    assert page._start.text() == "Stop" and page.windowTitle() == "test" and page._record.isEnabled()
    assert page.panel.about.text() == "640×360 → 1280×720"
    assert live.meter().stage_ms["show"] > 0
    if ARTEFACTS:
        page.grab().save(str(Path(ARTEFACTS) / "live.png"))
    page.stop()
    until(qtbot, lambda: not page.bridge.busy)
    assert page.bridge.live is None and page.canvas.scene() == [] and page.panel.mode.text() == "–"
    assert not said(page)


def test_only_what_is_seen_is_asked_for(page: LivePage, qtbot: Any) -> None:
    live = running(page, qtbot)
    until(qtbot, lambda: live.view.bicubic is not None and live.view.bicubic.right < 400)
    page.set_mode(Mode.SIDE)
    assert live.view.bicubic is not None and live.view.bicubic.right == 640
    page.canvas.zoom(8)
    assert live.view.sr is not None and live.view.sr.width < 300


def test_a_region_becomes_the_whole_picture_and_back(page: LivePage, qtbot: Any) -> None:
    live = running(page, qtbot)
    page.set_mode(Mode.FLICKER)
    page.canvas.zoom(4)
    page.toggle_region()
    region = live.region
    assert region is not None and 0 < region.width < 400 and page._region.isChecked()
    until(qtbot, lambda: page.panel.about.text().startswith(f"{region.width}×{region.height}"))
    page.canvas.zoom(2)
    assert live.view.sr is not None and live.view.sr.within(region) == live.view.sr
    page.toggle_region()
    until(qtbot, lambda: page.panel.about.text().startswith("640×360"))


def test_a_region_is_dragged_with_shift(page: LivePage, qtbot: Any) -> None:
    live = running(page, qtbot)
    page.set_mode(Mode.FLICKER)
    middle = page.canvas.rect().center()
    shift, left = Qt.KeyboardModifier.ShiftModifier, Qt.MouseButton.LeftButton
    corner = QPoint(middle.x() + 150, middle.y() + 90)
    qtbot.mousePress(page.canvas, left, shift, middle)
    move_mouse(page.canvas, corner, left)
    assert page._band.isVisible()
    qtbot.mouseRelease(page.canvas, left, shift, corner)
    assert not page._band.isVisible()
    zoom = page.canvas.percent / 100 * 2
    region = live.region
    assert region is not None and abs(region.width - 150 / zoom) <= 8 and abs(region.height - 90 / zoom) <= 8
    assert abs(region.left - 320) <= 8 and abs(region.top - 180) <= 8
    until(qtbot, lambda: page.panel.about.text().startswith(f"{region.width}×{region.height}"))
    qtbot.mousePress(page.canvas, left, shift, middle)
    qtbot.mouseRelease(page.canvas, left, shift, middle)  # means nothing
    assert live.region == region


def test_a_region_beyond_the_picture_is_given_up(page: LivePage, qtbot: Any) -> None:
    page.watch("test", page.panel.choice, page.panel.wish, region=vsr.Box(5000, 5000, 5100, 5100))
    until(qtbot, lambda: page.panel.about.text().startswith("640×360"))
    until(qtbot, lambda: any("beyond the picture" in text for text in said(page)))
    assert page.bridge.live is not None and page.bridge.live.region is None and not page._region.isChecked()
    until(qtbot, lambda: len(page.canvas.scene()) == 2)


def test_the_command_opens_the_page(page: LivePage, qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import ui.app
    from vsr.cli import main

    asked: list[Any] = []
    monkeypatch.setattr(ui.app, "main", lambda files, live=None: asked.append(live) or 0)
    assert main(["live", "--source", "test", "--model", "bicubic", "--size", "320x180", "--mirror", "--pinned"]) == 0
    page.watch(**asked[0])
    until(qtbot, lambda: page.panel.about.text() == "320×180 → 640×360")
    assert page.wanted == "test" and page.panel.mirror.isChecked() and not page.panel.hold.isChecked()
    assert main(["live", "--source", "test", "--record", "a.mkv"]) == 2
    assert main(["live", "--source", "test", "--model", "no-such"]) == 2
    assert main(["live", "--source", "gopher://x"]) == 2
    assert len(asked) == 1


def test_recording_and_snapshots_go_to_their_folders(page: LivePage, qtbot: Any, tmp_path: Path) -> None:
    running(page, qtbot)
    page.panel.set("show", "both")
    qtbot.keyClick(page, Qt.Key.Key_R)
    assert page._record.isChecked() and page.busy() is not None
    until(qtbot, lambda: page._lasts.text() not in ("", "0:00"))
    qtbot.keyClick(page, Qt.Key.Key_P)
    until(qtbot, lambda: list(tmp_path.glob("*.png")))
    qtbot.keyClick(page, Qt.Key.Key_R)
    until(qtbot, lambda: any(text.endswith(".mkv") for text in said(page)))
    assert page.busy() is None
    (video,) = tmp_path.glob("*.mkv")
    with av.open(str(video)) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (2560, 720)


class Silence:
    """A microphone of which nothing comes."""

    rate, channels = 48000, 1

    def __init__(self, name: str, now: Callable[[], float]) -> None:
        self.name = name

    def listen(self) -> None:
        pass

    def blocks(self) -> list[Any]:
        return []

    def close(self) -> None:
        pass


@pytest.mark.parametrize("chosen", ["", "default", "USB"])
def test_the_microphone_is_recorded_where_it_is_chosen(
    page: LivePage, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: str
) -> None:
    monkeypatch.setattr(vsr, "microphones", lambda: ["Built-in", "USB"], raising=False)
    heard: list[str] = []

    def silence(name: str, now: Callable[[], float]) -> Silence:
        heard.append(name)
        return Silence(name, now)

    page.fill()
    until(qtbot, lambda: not page.bridge.finding)
    assert page.panel.get("sound") == ""
    page.panel.set("sound", chosen)
    page.watch("test", page.panel.choice, page.panel.wish, microphones=silence)
    until(qtbot, lambda: page.bridge.live is not None and page.bridge.live.meter().frames > 3)
    page.toggle_recording()
    until(qtbot, lambda: list(tmp_path.glob(".*.part.mkv")))
    page.toggle_recording()
    until(qtbot, lambda: any(text.endswith(".mkv") for text in said(page)))
    (video,) = tmp_path.glob("*.mkv")
    with av.open(str(video)) as container:
        assert len(container.streams.audio) == bool(chosen)
    assert heard == ([chosen] if chosen else [])


def test_a_microphone_that_was_chosen_stays_so_while_it_is_away(page: LivePage) -> None:
    page.panel.set("sound", "USB")  # as it was remembered
    for there in (["Built-in"], ["Built-in", "USB"], []):
        page.panel.fill_sound(there)
        assert page.panel.get("sound") == "USB"
    page.panel.set("sound", "")
    page.panel.fill_sound(["Built-in"])
    box = page.panel._boxes["sound"]
    assert [box.itemData(row) for row in range(box.count())] == ["", "default", "Built-in"]


def test_a_recording_that_was_cut_off_is_offered(page: Any, qtbot: Any, tmp_path: Path) -> None:
    parts = [tmp_path / f".{name}.0123abcd.part.mkv" for name in ("VSR 2030-01-01 10-00-00", "VSR new", "other")]
    for part in parts:
        part.write_bytes(b"pictures")
        os.utime(part, (1e9, 1e9))
    os.utime(parts[1])  # it is being written
    page.fill()
    until(qtbot, lambda: not page.bridge.finding)
    assert len(page.told) == 1 and "VSR 2030-01-01 10-00-00.mkv" in said(page)[0]
    page.told[0][2]()
    assert (tmp_path / "VSR 2030-01-01 10-00-00.mkv").read_bytes() == b"pictures"
    assert not parts[0].exists() and parts[1].exists() and parts[2].exists()


def test_stopping_completes_a_recording(page: LivePage, qtbot: Any, tmp_path: Path) -> None:
    live = running(page, qtbot)
    page.toggle_recording()
    shown = live.meter().frames
    until(qtbot, lambda: live.meter().frames > shown + 10)
    page.stop()
    until(qtbot, lambda: any(text.endswith(".mkv") for text in said(page)))
    assert len(list(tmp_path.glob("*.mkv"))) == 1


def test_what_goes_wrong_is_said_with_what_mends_it(page: Any, qtbot: Any, tmp_path: Path) -> None:
    page.source.setEditText("gopher://me:secret@x")
    page.start()
    assert "no kind of stream" in said(page)[-1] and not page._running
    page.open([tmp_path / "no.mp4"])
    until(qtbot, lambda: "does not exist" in said(page)[-1])
    assert page.told[-1][1] == "Try again" and not page._running
    page.source.setEditText("http://me:secret@127.0.0.1:9/x")
    page.start()
    until(qtbot, lambda: "cannot be opened" in said(page)[-1])
    assert not any("secret" in text for text in said(page))


def test_a_file_plays_to_its_end(page: Any, qtbot: Any, clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    frames: list[object] = []
    show = page.canvas.show_frame
    monkeypatch.setattr(page.canvas, "show_frame", lambda *drawn: (frames.append(drawn), show(*drawn)))
    page.open([clip("a.mp4", pts=range(0, 25 * 512, 512))])
    until(qtbot, lambda: "It has ended." in said(page))
    assert frames
    assert page.told[-1][1] == "Play again" and not page._running


def test_another_choice_and_another_source_take_over(page: LivePage, qtbot: Any) -> None:
    live = running(page, qtbot)
    page.panel.set("scale", 3)
    page.panel.chosen.emit()
    until(qtbot, lambda: page.panel.about.text() == "640×360 → 1920×1080")
    page.panel.set("size", "640x480")
    page.panel.asked.emit()
    until(qtbot, lambda: page.panel.about.text() == "640×480 → 1920×1440")
    assert page.bridge.live is not live


def test_what_was_chosen_comes_back_but_no_password(page: LivePage, qtbot: Any, tmp_path: Path) -> None:
    settings = QSettings(str(tmp_path / "s.ini"), QSettings.Format.IniFormat)
    page.source.setEditText("rtsp://cam.local/live")
    page.panel.set("scale", 4)
    page.panel.hold.setChecked(False)
    page.panel.set("sound", "default")
    page.save_state(settings)
    other = LivePage(gpu=False)
    qtbot.addWidget(other)
    other.restore_state(settings)
    assert other.wanted == "rtsp://cam.local/live" and other.panel.get("scale") == 4
    assert not other.panel.hold.isChecked() and other.panel.get("sound") == "default"
    page.source.setEditText("rtsp://me:secret@cam.local/live")
    page.save_state(settings)
    settings.sync()
    assert "secret" not in (tmp_path / "s.ini").read_text()
    other.shut()


def test_looking_for_cameras_keeps_nobody_waiting(page: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()

    def slow() -> list[tuple[int, str]]:
        assert answer.wait(60)
        return [(7, "Slow camera")]

    monkeypatch.setattr(vsr, "cameras", slow, raising=False)
    opened: list[str] = []
    monkeypatch.setattr(page.bridge, "open", lambda source, **options: opened.append(source))
    page.source.setEditText("")
    try:
        page.fill()
        assert page.bridge.finding and "Looking" in page._line.placeholderText() and page.wanted == ""
        rounds: list[int] = []
        timer = QTimer(interval=1)
        timer.timeout.connect(lambda: rounds.append(1))
        timer.start()
        until(qtbot, lambda: len(rounds) > 20)  # the loop goes on
        assert [page.source.itemData(row) for row in range(page.source.count())] == ["screen", "test"]
        page.start()
        assert "when the cameras are found" in said(page)[-1] and opened == []
    finally:
        answer.set()
    until(qtbot, lambda: opened == ["7"])
    assert page.source.currentText() == "Slow camera" and "Looking" not in page._line.placeholderText()
    page.source.setEditText("rtsp://cam.local/live")
    page.fill()
    until(qtbot, lambda: not page.bridge.finding)
    assert page.source.findText("Slow camera") == 0 and page.wanted == "rtsp://cam.local/live"  # it is left as it was


def test_a_driver_that_does_not_say_what_cameras_there_are_keeps_no_window_open(
    page: LivePage, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ui.live._PATIENCE_S", 0.05)
    answer, asked = threading.Event(), threading.Event()

    def never() -> list[tuple[int, str]]:
        asked.set()
        assert answer.wait(60)
        return [(0, "Late")]

    monkeypatch.setattr(vsr, "cameras", never, raising=False)
    told: list[object] = []
    page.bridge._searched.connect(lambda: told.append(None))
    try:
        page.fill()
        assert asked.wait(60)
        page.shut()
        assert not page.bridge.finding
    finally:
        answer.set()
    until(qtbot, lambda: not [thread for thread in threading.enumerate() if thread.name == "vsr-newest"])
    assert page.source.findText("Late") < 0 and not told  # nobody hears of it any more


def test_looking_for_cameras_that_fails_is_over(page: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> list[tuple[int, str]]:
        raise OSError("out of luck")

    monkeypatch.setattr(vsr, "cameras", fails, raising=False)
    with qtbot.capture_exceptions() as raised:
        page.fill()
        until(qtbot, lambda: not page.bridge.finding)
    assert [str(error) for _, error, _ in raised] == ["out of luck"]
    assert "Looking" not in page._line.placeholderText() and page.source.findData("test") >= 0


def test_the_picture_alone_has_its_controls_while_the_mouse_moves(page: Any, qtbot: Any) -> None:
    page.bare(True)
    assert not page.panel.isVisible()
    page.foot_row.setAttribute(Qt.WidgetAttribute.WA_UnderMouse, False)  # wherever other tests have left it
    page._full._hide()
    assert not page.foot_row.isVisible()
    move_mouse(page.canvas, QPoint(99, 99))
    assert page.foot_row.isVisible() and page._full._still.isActive()
    assert page.foot_row.geometry().bottom() == page.rect().bottom()
    page._line.setFocus()
    until(qtbot, page._line.hasFocus)
    page._full._hide()
    assert page.foot_row.isVisible()  # an address is being written
    page.bare(False)
    until(qtbot, lambda: page.canvas.geometry().bottom() < page.foot_row.geometry().top())
    assert page.panel.isVisible() and page.foot_row.isVisible()


def test_every_control_has_a_name_and_a_tooltip(page: LivePage) -> None:
    for kind in (QAbstractButton, QComboBox):
        for widget in page.findChildren(kind):
            if widget.parent() is not page.source:
                assert widget.accessibleName() and widget.toolTip(), widget
    assert len(page.keys()) == len(page._keys)


def test_closing_while_it_starts_leaves_nothing(page: LivePage, qtbot: Any) -> None:
    page.start()
    page.stop()
    page.start()
    time.sleep(0.05)
    page.shut()
    assert page.bridge.live is None and not page.bridge.busy
