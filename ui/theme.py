"""How the window looks: neutral greys in light and dark as the system has it, one accent, one set of icons."""

from __future__ import annotations

from PySide6.QtCore import QByteArray, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QGuiApplication, QIcon, QPainter, QPaintEvent, QPalette, QPixmap
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QAbstractButton, QApplication, QLabel, QWidget

import vsr

UNIT = 8  # pixels: everything is laid out on multiples of it
CANVAS = QColor("#1b1b1d")  # around pictures, light or dark: it must not tint them
ICON = 20  # pixels

# Dark, light: what is behind, panels, texts, quiet texts, lines and fields, the accent, what went wrong, and links on
# the canvas, which is dark in both
_COLORS = {
    "window": ("#222224", "#f3f3f4"), "panel": ("#2a2a2d", "#fbfbfb"), "text": ("#e8e8ea", "#1c1c1e"),
    "quiet": ("#a0a0a6", "#66666b"), "line": ("#3a3a3e", "#d6d6d9"), "field": ("#323236", "#ffffff"),
    "hover": ("#38383c", "#e6e6e8"), "accent": ("#5aa2ff", "#1f6fd6"), "on-accent": ("#0d1b2e", "#ffffff"),
    "warning": ("#ff9580", "#b3361f"), "on-canvas": ("#5aa2ff", "#5aa2ff"),
}  # fmt: skip

_STYLE = """
* {{ outline: 0; }}
QToolTip {{ background: {panel}; color: {text}; border: 1px solid {line}; padding: 4px 6px; }}
QFrame#rail, QFrame#panel, QFrame#foot {{ background: {panel}; border: 0; }}
QFrame#rail {{ border-right: 1px solid {line}; }}
QFrame#panel {{ border-left: 1px solid {line}; }}
QFrame#foot {{ border-top: 1px solid {line}; }}
QFrame#strip, QFrame#sheet {{ background: {panel}; border: 1px solid {line}; border-radius: 8px; }}
QFrame#rule {{ background: {line}; border: 0; max-height: 1px; }}
QLabel#quiet {{ color: {quiet}; }}
QLabel#warning {{ color: {warning}; }}
QLabel#title {{ font-weight: 600; }}
QToolButton {{ border: 2px solid transparent; border-radius: 6px; padding: 4px; background: transparent; }}
QToolButton:hover {{ background: {hover}; }}
QToolButton:checked {{ background: {hover}; }}
QToolButton:focus, QPushButton:focus, QComboBox:focus, QLineEdit:focus, QSlider:focus, QCheckBox:focus,
QSpinBox:focus, QDoubleSpinBox:focus, QAbstractItemView:focus {{ border: 2px solid {accent}; }}
QFrame#rail QToolButton {{ padding: 6px 0; color: {quiet}; }}
QFrame#rail QToolButton:checked {{ color: {text}; }}
QPushButton {{ background: {field}; border: 2px solid {line}; border-radius: 6px; padding: 5px 12px; }}
QPushButton:hover {{ background: {hover}; }}
QPushButton:disabled {{ color: {quiet}; }}
QPushButton#main {{ background: {accent}; border-color: {accent}; color: {on-accent}; }}
QPushButton#main:focus {{ border-color: {text}; }}
QPushButton#link {{ background: transparent; border: 2px solid transparent; color: {accent}; padding: 3px 6px; }}
QPushButton#link:hover {{ text-decoration: underline; }}
QWidget#first QPushButton#link {{ color: {on-canvas}; }}
QPushButton#link:focus {{ border-color: {accent}; }}
QComboBox {{ background: {field}; border: 2px solid {line}; border-radius: 6px; padding: 3px 6px; }}
QComboBox:hover {{ background: {hover}; }}
QComboBox::drop-down {{ border: 0; width: 20px; }}
QComboBox::down-arrow, QToolButton::menu-arrow {{ image: url({icons}/down.svg); width: 10px; height: 10px; }}
QToolButton#opener {{ padding-right: 20px; }}
QToolButton::menu-button {{ border: 0; width: 18px; }}
QComboBox QAbstractItemView {{ border: 1px solid {line}; }}
QMenu {{ background: {panel}; border: 1px solid {line}; padding: 4px; }}
QMenu::item {{ padding: 4px 16px; border-radius: 4px; }}
QMenu::item:selected {{ background: {hover}; }}
QProgressBar {{ background: {field}; border: 0; border-radius: 3px; max-height: 6px; min-height: 6px; }}
QProgressBar::chunk {{ background: {accent}; border-radius: 3px; }}
QSlider {{ border: 2px solid transparent; border-radius: 6px; }}
QPushButton#main:disabled {{ background: {field}; border-color: {line}; color: {quiet}; }}
QLineEdit {{ background: {field}; border: 2px solid {line}; border-radius: 6px; padding: 3px 6px; }}
QComboBox QLineEdit, QComboBox QLineEdit:focus {{ border: 0; padding: 0; }}
QTabWidget::pane {{ border: 0; }}
QTabBar::tab {{ background: transparent; border: 0; border-bottom: 2px solid transparent; color: {quiet};
    padding: 6px 2px; margin-right: 14px; }}
QTabBar::tab:selected {{ color: {text}; border-bottom-color: {accent}; }}
QTabBar::tab:focus {{ color: {accent}; }}
QListView#rows, QPlainTextEdit#report {{ background: transparent; border: 2px solid transparent; }}
QListView#rows:focus {{ border-color: transparent; }}
QPlainTextEdit#report:focus {{ border-color: {accent}; }}
QSlider::groove:horizontal {{ background: {line}; height: 4px; border-radius: 2px; }}
QSlider::sub-page:horizontal {{ background: {quiet}; border-radius: 2px; }}
QSlider::handle:horizontal {{ background: {text}; width: 12px; margin: -4px 0; border-radius: 6px; }}
QSlider::sub-page:horizontal:disabled, QSlider::handle:horizontal:disabled {{ background: {line}; }}
QScrollBar {{ background: transparent; border: 0; }}
QScrollBar:vertical {{ width: 8px; }}
QScrollBar:horizontal {{ height: 8px; }}
QScrollBar::handle {{ background: {line}; border-radius: 4px; min-height: 24px; min-width: 24px; }}
QScrollBar::handle:hover {{ background: {quiet}; }}
QScrollBar::add-line, QScrollBar::sub-line, QScrollBar::add-page, QScrollBar::sub-page {{
    background: transparent; width: 0; height: 0; }}
QScrollArea {{ border: 0; background: transparent; }}
"""


class Elided(QLabel):
    """One line of text, cut in its middle where there is no room for it, and then whole in its tooltip."""

    def minimumSizeHint(self) -> QSize:
        return QSize(0, super().minimumSizeHint().height())

    def setText(self, text: str) -> None:
        super().setText(text)
        self.setToolTip(text)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter, inside = QPainter(self), self.contentsRect()
        painter.setPen(self.palette().color(self.foregroundRole()))
        text = self.fontMetrics().elidedText(self.text(), Qt.TextElideMode.ElideMiddle, inside.width())
        painter.drawText(inside, self.alignment(), text)


def is_dark() -> bool:
    return QGuiApplication.styleHints().colorScheme() != Qt.ColorScheme.Light


def color(name: str) -> QColor:
    """One of the window's colours, as the system's scheme has it."""
    return QColor(_COLORS[name][0 if is_dark() else 1])


def apply(app: QApplication) -> None:
    """Dress the whole application, now and whenever the system's scheme changes."""
    app.setStyle("Fusion")
    QGuiApplication.styleHints().colorSchemeChanged.connect(lambda: _dress(app))
    _dress(app)


def _dress(app: QApplication) -> None:
    colors = {name: color(name) for name in _COLORS}
    palette = QPalette(colors["field"], colors["window"])
    roles = QPalette.ColorRole
    for role, name in {
        roles.Window: "window", roles.WindowText: "text", roles.Base: "field", roles.AlternateBase: "panel",
        roles.Text: "text", roles.Button: "field", roles.ButtonText: "text", roles.Highlight: "accent",
        roles.HighlightedText: "on-accent", roles.PlaceholderText: "quiet", roles.Mid: "line", roles.Link: "accent",
        roles.ToolTipBase: "panel", roles.ToolTipText: "text", roles.Accent: "accent",
    }.items():  # fmt: skip
        palette.setColor(role, colors[name])
    for role in (roles.WindowText, roles.Text, roles.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, role, colors["quiet"])
    app.setPalette(palette)
    icons = (vsr.assets_dir() / "icons").as_posix()
    app.setStyleSheet(_STYLE.format_map({"icons": icons, **{name: each.name() for name, each in colors.items()}}))
    for widget in app.allWidgets():
        if isinstance(widget, QAbstractButton) and (name := widget.property("icon-name")):
            widget.setIcon(icon(name))


def set_icon(button: QAbstractButton, name: str) -> None:
    """Give a button an icon that follows the scheme."""
    if button.property("icon-name") != name:
        button.setProperty("icon-name", name)
        button.setIcon(icon(name))
        button.setIconSize(QSize(ICON, ICON))


def icon(name: str) -> QIcon:
    """``assets/icons/NAME.svg`` in the scheme's colours: quiet where disabled."""
    source = (vsr.assets_dir() / "icons" / f"{name}.svg").read_text("utf-8")
    made = QIcon()
    for mode, shade in ((QIcon.Mode.Normal, "text"), (QIcon.Mode.Disabled, "quiet")):
        drawing = QSvgRenderer(QByteArray(source.replace("currentColor", color(shade).name()).encode()))
        for ratio in (1, 2, 3):
            pixels = QPixmap(ICON * ratio, ICON * ratio)
            pixels.fill(Qt.GlobalColor.transparent)
            painter = QPainter(pixels)
            drawing.render(painter, QRectF(pixels.rect()))
            painter.end()
            pixels.setDevicePixelRatio(ratio)
            made.addPixmap(pixels, mode)
    return made


def numbers(widget: QWidget) -> None:
    """Let a widget's digits all be as wide, so that numbers that change stand still."""
    font = QFont(widget.font())
    font.setFeature(QFont.Tag("tnum"), 1)
    widget.setFont(font)


def name(widget: QWidget, text: str, tip: str = "", key: str = "") -> None:
    """What assistive programs call a widget, and its tooltip: a sentence, and the key that does the same."""
    widget.setAccessibleName(text)
    widget.setToolTip(f"{tip or text}{f'  ({key})' if key else ''}")


