"""The window: a rail of places, the pages behind it, a strip of messages, and the one question when it is closed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from PySide6.QtCore import QElapsedTimer, QEvent, QObject, QRect, QSettings, Qt, QTimer
from PySide6.QtGui import (
    QAccessible,
    QAccessibleAnnouncementEvent,
    QCloseEvent,
    QDragEnterEvent,
    QDropEvent,
    QKeyEvent,
    QKeySequence,
    QMouseEvent,
    QResizeEvent,
    QShortcut,
)
from PySide6.QtWidgets import (
    QApplication,
    QButtonGroup,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QMainWindow,
    QMessageBox,
    QPushButton,
    QStackedWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from ui import theme

# A place's name, where its page lives, its icon; a page whose module is not there is left out
PLACES = (
    ("compare", "ui.compare", "ComparePage", "compare"),
    ("queue", "ui.queue", "QueuePage", "queue"),
    ("live", "ui.live", "LivePage", "live"),
    ("about", "ui.about", "AboutPage", "about"),
)
_RAIL = 9 * theme.UNIT
_SMALLEST = 760, 480
_SHOWN_MS = 6000  # how long a message stays that asks for nothing


class Window(QMainWindow):
    """VSR's only window. ``settings`` keep what a person chose; ``places`` names the pages to have, None for all.

    A page is a QWidget with signals ``message`` (text, the label of an action or "", the action) and ``go`` (as the
    method), and the methods ``busy`` (a sentence when closing would stop work, else None), ``shut``, ``open`` (paths),
    ``save_state`` and ``restore_state`` (settings). It may have ``foot`` (pixels that messages stay above), ``aside``
    (a widget at its right that they leave free), ``bare``
    (called with whether only the picture is to be seen) and ``keys`` (pairs of a key and what it does).
    """

    def __init__(self, settings: QSettings, places: tuple[str, ...] | None = None) -> None:
        super().__init__()
        self.settings = settings
        self.pages: dict[str, Any] = {}
        self._sure = False  # that work may be stopped
        self._was_maximized = False
        self._question: QMessageBox | None = None
        self._places = [place for place in PLACES
                        if (places is None or place[0] in places) and importlib.util.find_spec(place[1])]
        self._titles = {"compare": self.tr("Compare"), "queue": self.tr("Queue"), "live": self.tr("Live"),
                        "about": self.tr("About")}
        self._stack = QStackedWidget()
        self._strip = Strip(self)
        self._later = QTimer(self, interval=0, singleShot=True)
        self._later.timeout.connect(self._place_strip)
        self._sheet = Sheet(self)
        self._rail = QFrame(objectName="rail")
        self._buttons: dict[str, QToolButton] = {}
        self._lay_out()
        for keys, does in (("Ctrl+O", self.ask_for_files), ("F1", self.toggle_help), ("F11", self.toggle_full_screen),
                           (QKeySequence.StandardKey.Quit, self.close)):
            QShortcut(QKeySequence(keys), self).activated.connect(does)
        self.setAcceptDrops(True)
        self.setMinimumSize(*_SMALLEST)
        self.resize(1280, 800)
        if (geometry := settings.value("window/geometry")) is not None:
            self.restoreGeometry(geometry)
        self.show_place(self._places[0][0])
        QTimer.singleShot(0, self._build_next)

    def _lay_out(self) -> None:
        rail = QVBoxLayout(self._rail)
        rail.setContentsMargins(6, theme.UNIT, 6, theme.UNIT)
        rail.setSpacing(theme.UNIT // 2)
        self._rail.setFixedWidth(_RAIL)
        group = QButtonGroup(self)
        for number, (place, _, _, icon) in enumerate(self._places, 1):
            if place == "about":
                rail.addStretch()
                rail.addWidget(self._rail_button(self.tr("Keys"), "help", self.toggle_help, "?"))
            button = self._rail_button(self._titles[place], icon, partial(self.show_place, place), str(number))
            button.setCheckable(True)
            group.addButton(button)
            self._buttons[place] = button
            rail.addWidget(button)
        middle = QWidget()
        across = QHBoxLayout(middle)
        across.setContentsMargins(0, 0, 0, 0)
        across.setSpacing(0)
        across.addWidget(self._rail)
        across.addWidget(self._stack, 1)
        self.setCentralWidget(middle)

    def _rail_button(self, text: str, icon: str, does: Callable[[], None], key: str) -> QToolButton:
        button = QToolButton(text=text, toolButtonStyle=Qt.ToolButtonStyle.ToolButtonTextUnderIcon)
        button.setFixedWidth(_RAIL - 12)
        theme.set_icon(button, icon)
        theme.name(button, text, key=key)
        button.clicked.connect(lambda: does())
        return button

    # ---- places ----------------------------------------------------------------------------------------------------

    @property
    def page(self) -> Any:
        """The one that is seen."""
        return self._stack.currentWidget()

    @property
    def place(self) -> str:
        return self.page.objectName()

    def show_place(self, name: str) -> None:
        """Go to a place, whose page is made when it is first needed."""
        page = self._page(name)
        if page is not self.page:
            self._strip.leave()
        self._stack.setCurrentWidget(page)
        self._buttons[name].setChecked(True)
        self._titled()
        self._later.start()
        page.setFocus()
        if self._sheet.isVisible():
            self.toggle_help()

    def go(self, name: str, paths: list[Any]) -> None:
        """Go to a place with files for it, where there is such a place; "result": a source and what was made of it;
        "make": a source and the choice by which it is to be made."""
        if name == "result" and "compare" in self._buttons:
            self.show_place("compare")
            self.pages["compare"].open_result(*paths)
        elif name == "make" and "queue" in self._buttons:
            self.show_place("queue")
            self.pages["queue"].make(*paths)
        elif name in self._buttons:
            self.show_place(name)
            if paths:
                self.pages[name].open(paths)

    def _page(self, name: str) -> Any:
        if name not in self.pages:
            _, module, kind, _ = next(place for place in self._places if place[0] == name)
            page = self.pages[name] = getattr(import_module(module), kind)()
            page.setObjectName(name)
            page.message.connect(self.tell)
            page.go.connect(self.go)
            page.windowTitleChanged.connect(self._titled)
            self.settings.beginGroup(name)
            page.restore_state(self.settings)
            self.settings.endGroup()
            page.installEventFilter(self)
            self._stack.addWidget(page)
        return self.pages[name]

    def _build_next(self) -> None:
        """Make the pages that nobody has asked for yet, one after the other, so that the first is there at once."""
        for place in self._places:
            if place[0] not in self.pages:
                self._page(place[0])
                QTimer.singleShot(0, self._build_next)
                return

    def _titled(self) -> None:
        """What works out of sight comes first: that is what a taskbar has room for."""
        working = [page.windowTitle() for page in self.pages.values() if page is not self.page and page.busy()]
        self.setWindowTitle(" – ".join(filter(None, [*working, self.page.windowTitle(), "VSR"])))

    # ---- files -----------------------------------------------------------------------------------------------------

    def open(self, paths: list[Path]) -> None:
        """Give files to the place where they were dropped, or else to the first."""
        self.go(self.place if self.place != "about" else self._places[0][0], paths)

    def ask_for_files(self) -> None:
        if hasattr(self.page, "ask_for_files"):
            self.page.ask_for_files()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if any(url.isLocalFile() for url in event.mimeData().urls()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        event.acceptProposedAction()
        self.open([Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()])

    # ---- messages and help -----------------------------------------------------------------------------------------

    def tell(self, text: str, label: str = "", action: Callable[[], object] | None = None) -> None:
        """Say something in the strip, with the action that mends it or follows from it."""
        self._strip.add(text, label, action)
        self._place_strip()
        announce(self._strip, f"{text}  {label}".rstrip())

    def tell_fault(self, text: str, details: str) -> None:
        """Say what went wrong in VSR itself; ``details`` can be copied."""
        self.tell(text, self.tr("Copy details"), lambda: QApplication.clipboard().setText(details))

    def _place_strip(self) -> None:
        page, area = self.page, self._stack.geometry()
        foot = page.foot() if hasattr(page, "foot") else 0
        aside = page.aside.width() if hasattr(page, "aside") and page.aside.isVisible() else 0
        self._strip.place(area.adjusted(2 * theme.UNIT, 0, -2 * theme.UNIT - aside, -foot - theme.UNIT))

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """A page's parts come and go."""
        if event.type() == QEvent.Type.LayoutRequest:
            self._later.start()
        return super().eventFilter(watched, event)

    def toggle_help(self) -> None:
        page = self.page
        if self._sheet.isVisible():
            self._sheet.hide()
            page.setFocus()
            return
        places = [(str(number), self._titles[place[0]]) for number, place in enumerate(self._places, 1)]
        own = [("Ctrl+O", self.tr("Open files")), ("F", self.tr("Full screen")), ("?", self.tr("These keys")),
               ("Ctrl+Q", self.tr("Quit"))]
        self._sheet.fill([*(page.keys() if hasattr(page, "keys") else []), *places, *own])
        self._sheet.show_over(self._stack.geometry())
        announce(self._sheet, self._sheet.said)

    def toggle_full_screen(self) -> None:
        bare = not self.isFullScreen()
        self._rail.setVisible(not bare)
        for page in self.pages.values():
            if hasattr(page, "bare"):
                page.bare(bare)
        if bare:
            self._was_maximized = self.isMaximized()
            self.showFullScreen()
        elif self._was_maximized:
            self.showMaximized()
        else:
            self.showNormal()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Keys that no widget wanted."""
        text, places = event.text(), [place[0] for place in self._places]
        if text and text in "123456789" and int(text) <= len(places):
            self.show_place(places[int(text) - 1])
        elif text == "?":
            self.toggle_help()
        elif text in ("f", "F") or (event.key() == Qt.Key.Key_Escape and self.isFullScreen()):
            self.toggle_full_screen()
        elif event.key() == Qt.Key.Key_Escape and self._sheet.isVisible():
            self.toggle_help()
        elif event.key() == Qt.Key.Key_Escape:
            self._strip.dismiss()
        else:
            super().keyPressEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._later.start()
        if self._sheet.isVisible():
            self._sheet.show_over(self._stack.geometry())

    # ---- the end ---------------------------------------------------------------------------------------------------

    def closeEvent(self, event: QCloseEvent) -> None:
        working = [said for page in self.pages.values() if (said := page.busy())]
        if working and not self._sure:
            event.ignore()
            self._ask(working)
            return
        self.settings.setValue("window/geometry", self.saveGeometry())
        for name, page in self.pages.items():
            self.settings.beginGroup(name)
            page.save_state(self.settings)
            self.settings.endGroup()
        for page in self.pages.values():
            page.shut()
        event.accept()

    def _ask(self, working: list[str]) -> None:
        """The one question; it blocks nothing."""
        if self._question is not None:
            self._question.raise_()
            return
        box = self._question = QMessageBox(self)
        box.setText(self.tr("Stop the work and close?"))
        box.setInformativeText("\n".join(working))
        stop = box.addButton(self.tr("Stop and close"), QMessageBox.ButtonRole.DestructiveRole)
        stay = box.addButton(self.tr("Go on working"), QMessageBox.ButtonRole.RejectRole)
        box.setDefaultButton(stay)
        box.setEscapeButton(stay)
        box.finished.connect(lambda: self._answered(box.clickedButton() is stop))
        box.open()

    def _answered(self, stop: bool) -> None:
        self._question = None
        if stop:
            self._sure = True
            self.close()


def announce(widget: QWidget, text: str) -> None:
    """Let a screen reader say what appears without the focus."""
    QAccessible.updateAccessibility(QAccessibleAnnouncementEvent(widget, text))


class Strip(QFrame):
    """Messages, the newest alone, over the foot of a page. What asks for nothing goes by itself; what asks for
    something comes back when that is gone, until the same is asked for anew."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent, objectName="strip")
        self._waiting: list[tuple[str, str, Callable[[], object] | None]] = []
        self._text, self._does = QLabel(wordWrap=True), QPushButton(objectName="link")
        self._text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        dismiss = QToolButton()
        theme.set_icon(dismiss, "close")
        theme.name(dismiss, self.tr("Dismiss"), key="Esc")
        dismiss.clicked.connect(self.dismiss)
        theme.name(self._does, self.tr("What to do about it"))
        self._does.clicked.connect(self._act)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(2 * theme.UNIT, 4, 4, 4)
        layout.addWidget(self._text, 1)
        layout.addWidget(self._does)
        layout.addWidget(dismiss)
        self._timer = QTimer(self, singleShot=True, interval=_SHOWN_MS)
        self._timer.timeout.connect(self.dismiss)
        self._shown_for = QElapsedTimer()
        self._area = self.geometry()
        self.hide()

    def leave(self) -> None:
        """The page is left: what was there to be read for long enough does not follow."""
        if self.isVisible() and self._shown_for.hasExpired(_SHOWN_MS):
            self._waiting.clear()
            self._show()

    @property
    def said(self) -> str:
        return self._text.text() if self.isVisible() else ""

    def add(self, text: str, label: str, action: Callable[[], object] | None) -> None:
        # What asks for nothing makes room
        self._waiting = [waiting for waiting in self._waiting if waiting[1] and waiting[1] != label]
        self._waiting.append((text, label, action))
        self._show()

    def _show(self) -> None:
        if not self._waiting:
            self.hide()
            return
        text, label, _ = self._waiting[-1]
        self._text.setText(text)
        self._text.setAccessibleName(text)
        self._does.setText(label)
        self._does.setAccessibleName(label)
        self._does.setToolTip(label)
        self._does.setVisible(bool(label))
        self._timer.stop() if label else self._timer.start()
        self._shown_for.start()
        self.place(self._area)
        self.show()
        self.raise_()

    def _act(self) -> None:
        _, _, action = self._waiting[-1]
        self.dismiss()
        if action is not None:
            action()

    def dismiss(self) -> None:
        if self._waiting:
            self._waiting.pop()
        self._show()

    def place(self, area: QRect) -> None:
        """Sit at the bottom of ``area``, no wider than what is to be read."""
        self._area = area
        if area.width() <= 0:
            return
        beside = 10 * theme.UNIT + (self._does.sizeHint().width() if self._does.text() else 0)
        words = self._text.fontMetrics().horizontalAdvance(self._text.text())
        width = min(area.width(), max(30 * theme.UNIT, words + beside))
        height = max(self._text.heightForWidth(width - beside) + 2 * theme.UNIT, 5 * theme.UNIT)
        self.setGeometry(area.center().x() - width // 2, area.bottom() - height, width, height)


class Sheet(QFrame):
    """What the keys do. A click takes it away."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent, objectName="sheet")
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(*[3 * theme.UNIT] * 4)
        self._grid.setHorizontalSpacing(2 * theme.UNIT)
        self._grid.setVerticalSpacing(theme.UNIT // 2)
        self.said = ""
        theme.name(self, self.tr("Keys"), self.tr("Click to close"))
        self.hide()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self.hide()

    def fill(self, keys: list[tuple[str, str]]) -> None:
        while (item := self._grid.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.deleteLater()
        self.said = "; ".join(f"{key}: {does}" for key, does in keys)
        half = -(-len(keys) // 2)
        for number, (key, does) in enumerate(keys):
            row, column = number % half, 3 * (number // half)
            self._grid.addWidget(QLabel(key, alignment=Qt.AlignmentFlag.AlignRight), row, column)
            self._grid.addWidget(QLabel(does, objectName="quiet"), row, column + 1)
        self._grid.setColumnMinimumWidth(2, 3 * theme.UNIT)

    def show_over(self, area: QRect) -> None:
        self._grid.activate()
        self.resize(self._grid.totalSizeHint())
        self.move(area.center() - self.rect().center())
        self.show()
        self.raise_()
