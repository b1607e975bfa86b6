"""The window as a whole, with all of its pages: who cannot see it or has no mouse, who reads another language, and what
is said in its strip."""

from __future__ import annotations

import os
import re
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from conftest import Clip, Nearest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
pytest.importorskip("pytestqt", reason="the window's tests need pytest-qt")

import PySide6
from PySide6.QtCore import QLocale, QSettings, Qt, QTranslator
from PySide6.QtGui import QAction
from PySide6.QtTest import QTest
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QScrollBar,
    QTabBar,
    QWidget,
)
from pytestqt.qtbot import QtBot

import vsr
from ui import app as starter
from ui import theme, window
from vsr.player import Player

ROOT = Path(__file__).parents[1]
TOOLS = Path(PySide6.__file__).parent
WAIT_MS = 120_000
CONTROLS = (QAbstractButton, QComboBox, QAbstractSlider, QLineEdit, QAbstractSpinBox, QAbstractItemView,
            QPlainTextEdit, QTabBar)
PLACES = ("compare", "queue", "live", "about")


@pytest.fixture
def settings(tmp_path: Path) -> QSettings:
    return QSettings(str(tmp_path / "settings.ini"), QSettings.Format.IniFormat)


@pytest.fixture
def whole(qtbot: QtBot, settings: QSettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[window.Window]:
    """All pages, of which the Compare page enlarges simply."""
    monkeypatch.setattr(vsr, "Player", partial(Player, engines=Nearest), raising=False)
    yield from opened(qtbot, settings)


def opened(qtbot: QtBot, settings: QSettings) -> Iterator[window.Window]:
    theme.apply(QApplication.instance())  # type: ignore[arg-type]
    made = window.Window(settings)
    made.resize(1280, 800)
    made.show()
    made.activateWindow()
    qtbot.waitUntil(lambda: set(made.pages) == set(PLACES) and made.isActiveWindow(), timeout=WAIT_MS)
    try:
        yield made
    finally:
        made._sure = True
        made.close()


def is_own(widget: QWidget) -> bool:
    """Whether it is a control that we made, not a part that Qt made of one, and not one that only shows."""
    if not isinstance(widget, CONTROLS) or isinstance(widget, QScrollBar):
        return False
    parent = widget.parentWidget()
    while parent is not None:
        if isinstance(parent, QComboBox | QLineEdit | QTabBar | QAbstractItemView | QAbstractSpinBox):
            return False
        parent = parent.parentWidget()
    return True


def controls(within: QWidget) -> list[QWidget]:
    return [widget for widget in within.findChildren(QWidget) if is_own(widget)]


def in_use(made: window.Window, qtbot: QtBot, path: Path) -> None:
    """With a video on the Compare page, and one that is chosen in the queue."""
    compare, queue = made.pages["compare"], made.pages["queue"]
    compare.open([path], play=False)
    qtbot.waitUntil(lambda: compare._shown is not None and compare._shown.engine is not None, timeout=WAIT_MS)
    queue.open([path])
    queue.list.setCurrentIndex(queue.queue.index(0))
    qtbot.waitUntil(lambda: queue.form.isVisibleTo(queue), timeout=WAIT_MS)


# ---- without eyes, without a mouse ---------------------------------------------------------------------------------


def test_every_control_of_every_page_has_a_name_and_a_tip(whole: window.Window, qtbot: QtBot, clip: Clip) -> None:
    in_use(whole, qtbot, clip("a.mp4", audio=1))
    found = controls(whole)
    assert len(found) > 80
    nameless = [(type(each).__name__, each.accessibleName(), each.toolTip()) for each in found
                if not isinstance(each, QTabBar) and not (each.accessibleName() and each.toolTip())]
    assert nameless == []
    (bar,) = (each for each in found if isinstance(each, QTabBar))
    assert all(bar.tabText(tab) and bar.tabToolTip(tab) for tab in range(bar.count()))


@pytest.mark.parametrize("place", PLACES)
def test_tab_leads_to_every_control(whole: window.Window, qtbot: QtBot, clip: Clip, place: str) -> None:
    """And round, back to where it began; of buttons of which one is pressed, to one, from which arrows lead on."""
    in_use(whole, qtbot, clip("a.mp4", audio=1))
    whole.show_place(place)
    if place == "about":
        qtbot.waitUntil(lambda: bool(whole.pages["about"]._facts), timeout=WAIT_MS)
    seen: list[QWidget] = []
    for _ in range(200):
        QTest.keyClick(QApplication.focusWidget() or whole, Qt.Key.Key_Tab)
        focus = QApplication.focusWidget()
        assert focus is not None
        if focus in seen:
            break
        seen.append(focus)
    groups = {each.group() for each in seen if isinstance(each, QAbstractButton) and each.group() is not None}
    wanted = [each for each in controls(whole) if each.isVisible() and each.isEnabled()]
    assert len(wanted) > 5
    missed = [each.accessibleName() or type(each).__name__ for each in wanted if each not in seen
              and not any(each.isAncestorOf(other) for other in seen)
              and not (isinstance(each, QAbstractButton) and each.group() in groups)]
    assert missed == []


def test_arrows_choose_in_a_box_without_leaving_it(whole: window.Window, qtbot: QtBot, clip: Clip) -> None:
    in_use(whole, qtbot, clip("a.mp4"))
    whole.show_place("compare")
    box = whole.pages["compare"].inspector._boxes["scale"]
    box.setFocus(Qt.FocusReason.TabFocusReason)
    for scale in (3, 4):
        QTest.keyClick(box, Qt.Key.Key_Down)
        assert box.currentData() == scale and QApplication.focusWidget() is box


def test_what_appears_without_the_focus_is_announced(whole: window.Window, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(window, "announce", lambda widget, text: said.append(text))
    whole.tell("It is done", "Show it", lambda: None)
    whole.show_place("compare")
    whole.toggle_help()
    assert said[0] == "It is done  Show it" and "Space: Play, pause; " in said[1]
    monkeypatch.undo()
    window.announce(whole._strip, "so that it is called once")
    QTest.mouseClick(whole._sheet, Qt.MouseButton.LeftButton)
    assert not whole._sheet.isVisible()


# ---- another language ----------------------------------------------------------------------------------------------


def tool(name: str, *arguments: object) -> None:
    path = TOOLS / (f"{name}.exe" if os.name == "nt" else name)
    if not path.is_file():
        pytest.skip(f"PySide6 comes without {name} here")
    run = subprocess.run([path, *map(str, arguments)], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_a_translation_made_with_qt_s_tools_is_spoken_everywhere(
    tmp_path: Path, qapp: QApplication, qtbot: QtBot, settings: QSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As README says: texts are collected, translated, and put where they are looked for."""
    texts, folder = tmp_path / "vsr_de.ts", tmp_path / "assets" / "translations"
    folder.mkdir(parents=True)
    for each in (ROOT / "assets").iterdir():
        (tmp_path / "assets" / each.name).symlink_to(each)
    tool("lupdate", *sorted(ROOT.glob("ui/*.py")), "-ts", texts, "-source-language", "en", "-target-language", "de")
    tree = ET.parse(texts)
    for message in tree.iter("message"):
        source, translated = message.find("source"), message.find("translation")
        assert source is not None and translated is not None
        translated.text = f"«{source.text}»"
        translated.attrib.clear()
    tree.write(texts, encoding="utf-8", xml_declaration=True)
    tool("lrelease", texts, "-qm", folder / "vsr_de.qm")
    monkeypatch.setattr(vsr, "assets_dir", lambda: tmp_path / "assets", raising=False)
    was = QLocale()
    QLocale.setDefault(QLocale("de_DE"))
    starter.translate(qapp)
    try:
        for made in opened(qtbot, settings):
            made.pages["queue"].open([tmp_path / "gone.mp4"])
            made.pages["queue"].list.setCurrentIndex(made.pages["queue"].queue.index(0))
            qtbot.waitUntil(lambda made=made: made.pages["queue"].tabs.isTabVisible(0))  # type: ignore[misc]
            made.show_place("about")
            qtbot.waitUntil(lambda made=made: bool(made.pages["about"]._facts),  # type: ignore[misc]
                            timeout=WAIT_MS)
            made.toggle_help()
            left = {text for text in words(made) if "«" not in text and not UNTRANSLATED.fullmatch(text)}
            about = {label.text() for label in made.pages["about"].findChildren(QLabel)}
            assert left - about == set()
    finally:
        QLocale.setDefault(was)
        for translator in qapp.findChildren(QTranslator):
            qapp.removeTranslator(translator)
            translator.deleteLater()


# Names that the field, formats and programs have, numbers, keys, and names of files
UNTRANSLATED = re.compile(
    r"\W*|[\W\d×p]*|Bicubic.*|(F?SRCNN|Bicubic)[\w\s,.()-]*|VSR.*|PSNR|SSIM|auto|CPU|CUDA|reference|(fp|bf)\d+|int8"
    r"|4K|\d+p|H\.264|HEVC|AV1|VP9|FFV1|ProRes|CRF \d+|\w+(fast|slow|er)|fast|medium|slow|(Ctrl|Shift|Alt)\+.+|Ins|Del"
    r"|F\d+|\w|(\w )+\w|(.*/)?gone.mp4.*|\{name\}_\{tag\}|qt_\w+|[\w.]+ fps|\d+ × \d+|\d+x\d+|-?\d+ ms", re.DOTALL)


def words(within: QWidget) -> Iterator[str]:
    """All that is to be read, heard and pointed at in it."""
    for widget in within.findChildren(QWidget):
        if isinstance(widget.parent(), QTabBar):
            continue  # Qt's own
        if isinstance(widget, QLabel | QAbstractButton):
            yield widget.text()
        yield widget.toolTip()
        if not isinstance(widget, QLabel):
            yield widget.accessibleName()
        if isinstance(widget, QComboBox):
            yield from (widget.itemText(row) for row in range(widget.count()))
        if isinstance(widget, QTabBar):
            yield from (widget.tabText(tab) for tab in range(widget.count()))
            yield from (widget.tabToolTip(tab) for tab in range(widget.count()))
        if isinstance(widget, QLineEdit):
            yield widget.placeholderText()
    for action in within.findChildren(QAction):
        yield action.text()
        yield action.toolTip()
    yield within.windowTitle()


# ---- the strip -----------------------------------------------------------------------------------------------------


def test_what_was_read_stays_behind_and_nothing_piles_up(
    whole: window.Window, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    strip = whole._strip
    for number in range(3):
        whole.tell(f"Saved {number}.png", "Show in folder", lambda: None)
    whole.tell("It failed", "Again", lambda: None)
    strip.dismiss()
    assert strip.said == "Saved 2.png"
    strip.dismiss()
    assert strip.said == ""
    whole.tell("It failed", "Again", lambda: None)
    whole.show_place("queue")
    assert strip.said == "It failed"  # it has just come
    monkeypatch.setattr(window, "_SHOWN_MS", 0)
    qtbot.wait(5)
    whole.show_place("compare")
    assert strip.said == ""


def test_a_choice_that_was_looked_at_is_made_in_the_queue(whole: window.Window, qtbot: QtBot, clip: Clip) -> None:
    path = clip("a.mp4")
    compare, queue = whole.pages["compare"], whole.pages["queue"]
    compare.open([path], play=False)
    qtbot.waitUntil(lambda: compare._shown is not None and compare.inspector._boxes["model"].count() > 2,
                    timeout=WAIT_MS)
    compare.inspector.choose(model="fsrcnn", scale=3)
    qtbot.keyClick(compare.canvas, "U")
    assert whole.place == "queue"
    (item,) = queue.chosen()
    assert (item.path, item.settings.model, item.settings.size) == (path, "fsrcnn", "x3")
    assert queue.queue.defaults.model != "fsrcnn"  # of others, nothing was said
    whole.go("make", [path, vsr.Choice("bicubic", 2)])
    whole.go("make", [path, vsr.Choice("bicubic", 2)])  # which waits already
    assert [(item.settings.model, item.settings.size) for item in queue.queue.items] == [
        ("fsrcnn", "x3"), ("bicubic", "x2")]


def test_a_folder_is_for_the_queue(whole: window.Window, qtbot: QtBot, clip: Clip, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    clip("a.mp4").rename(folder / "a.mp4")
    whole.show_place("compare")
    whole.open([folder])
    assert "folder is a folder" in whole._strip.said and whole.pages["compare"].bridge.player is None
    whole._strip._does.click()
    queue: Any = whole.pages["queue"].queue
    qtbot.waitUntil(lambda: [item.name for item in queue.items] == ["a.mp4"], timeout=WAIT_MS)
    assert whole.place == "queue"
