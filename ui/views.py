"""What pages with a canvas share beside it: the row of views, and their controls on a full screen."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QEvent, QObject, Qt, QTimer, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QApplication, QButtonGroup, QHBoxLayout, QToolButton, QVBoxLayout, QWidget

from ui import theme
from ui.canvas import Canvas, Mode

_STILL_MS = 2500  # after the mouse last moved, the controls go from a full screen


class Views(QWidget):
    """A button for each way to look at both sides. ``moded`` tells which was pressed, by `Mode`'s value."""

    moded = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.row, group = QHBoxLayout(self), QButtonGroup(self)
        self.row.setContentsMargins(0, 0, 0, 0)
        self.row.setSpacing(4)
        self._buttons: dict[Mode, QToolButton] = {}
        for mode, key, text, tip in (
            (Mode.SPLIT, "S", self.tr("Split"),
             self.tr("Bicubic left of a line to drag, super-resolution right of it")),
            (Mode.SIDE, "T", self.tr("Side by side"), self.tr("The same part of both, beside each other")),
            (Mode.FLICKER, "A", self.tr("A/B"), self.tr("One over the other: A changes between them")),
            (Mode.DIFFERENCE, "D", self.tr("Difference ×8"),
             self.tr("How far the sides' luma is apart, eight times as much")),
        ):
            button = self._buttons[mode] = QToolButton(checkable=True)
            theme.set_icon(button, mode.value)
            theme.name(button, text, tip, key)
            button.clicked.connect(lambda _, mode=mode: self.moded.emit(mode.value))
            group.addButton(button)
            self.row.addWidget(button)
        self.row.addStretch()

    def show_mode(self, mode: Mode) -> None:
        self._buttons[mode].setChecked(True)


class FullScreen(QObject):
    """Lets ``canvas`` alone be seen, or all of its page again: then ``aside``, where it was there before, and
    ``controls`` at the end of ``column``. On a full screen these lie over the picture while the mouse moves over it,
    from the Tab key on while they have the focus, and while they are in use, with ``held`` in any way that only they
    know."""

    def __init__(self, page: QWidget, column: QVBoxLayout, canvas: Canvas, controls: QWidget, aside: QWidget,
                 held: Callable[[], bool] = lambda: False) -> None:
        super().__init__(page)
        self._page, self._column, self._controls, self._aside, self._held = page, column, controls, aside, held
        self.on, self._had_aside = False, True
        self._by_keys = False  # whether they were asked for with the Tab key, and not with the mouse since
        self._still = QTimer(self, interval=_STILL_MS, singleShot=True)
        self._still.timeout.connect(self._hide)
        page.installEventFilter(self)
        canvas.installEventFilter(self)

    @property
    def has_aside(self) -> bool:
        """Whether it is there when there is no full screen."""
        return self._had_aside if self.on else not self._aside.isHidden()

    def set(self, on: bool) -> None:
        if on and not self.on:
            self._had_aside = not self._aside.isHidden()
        if on is not self.on:
            self._aside.setVisible(not on and self._had_aside)
        self.on = on
        if on:
            self._column.removeWidget(self._controls)
            self._place()
            self._still.start()
        else:
            self._still.stop()
            self._column.addWidget(self._controls)
            self._controls.show()

    def show(self, by_keys: bool = False) -> None:
        """Show the controls for a while."""
        if self.on:
            self._by_keys = by_keys
            self._place()
            self._controls.show()
            self._still.start()

    def _place(self) -> None:
        height = self._controls.height()
        self._controls.setGeometry(0, self._page.height() - height, self._page.width(), height)
        self._controls.raise_()

    def _hide(self) -> None:
        focus = QApplication.focusWidget()
        focus = focus if focus is not None and self._controls.isAncestorOf(focus) else None
        used = focus is not None and (
            self._by_keys or focus.testAttribute(Qt.WidgetAttribute.WA_InputMethodEnabled))
        if self._controls.underMouse() or used or QApplication.activePopupWidget() is not None or self._held():
            self._still.start()
        else:
            self._controls.hide()
            if focus is not None:
                self._page.setFocus()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """The mouse moves over the picture, Tab is to lead to the controls, or the page has another size."""
        if self.on and event.type() is QEvent.Type.Resize and watched is self._page:
            self._place()
        elif self.on and event.type() is QEvent.Type.MouseMove and watched is not self._page:
            self.show()
        elif self.on and isinstance(event, QKeyEvent) and event.key() in (Qt.Key.Key_Tab, Qt.Key.Key_Backtab):
            self.show(by_keys=True)
        return super().eventFilter(watched, event)
