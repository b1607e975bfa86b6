"""Starting the window: `vsr gui [FILE...]` and `vsr-gui`."""

from __future__ import annotations

import os
import platform
import signal
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from PySide6.QtCore import QLibraryInfo, QLocale, QObject, QSettings, QTimer, QTranslator, Signal
from PySide6.QtGui import QGuiApplication, QIcon
from PySide6.QtWidgets import QApplication

import vsr
from ui import theme
from ui.window import Window


class Faults(QObject):
    """Errors that nobody caught, in any thread, told in the window instead of ending it."""

    told = Signal(str, str)

    def __init__(self, window: Window) -> None:
        super().__init__(window)
        self.told.connect(window.tell_fault)

    def watch(self) -> None:
        sys.excepthook = self._met
        threading.excepthook = lambda args: self._met(args.exc_type, args.exc_value, args.exc_traceback)

    def _met(self, kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            QApplication.quit()
            return
        lines = "".join(traceback.format_exception(kind, error, trace))
        print(lines, end="", file=sys.stderr)
        about = f"VSR {vsr.__version__}, Python {platform.python_version()}, {platform.platform()}"
        said = self.tr("Something went wrong in VSR itself: {0}. The rest goes on.")
        self.told.emit(said.format(error or kind.__name__), f"{about}\n{lines}")


def application(arguments: Sequence[str]) -> QApplication:
    """The one QApplication, dressed and translated."""
    for name in ("QT_QPA_PLATFORM_PLUGIN_PATH", "QT_QPA_FONTDIR"):
        os.environ.pop(name, None)  # OpenCV's own Qt, which is not ours
    QGuiApplication.setDesktopFileName("vsr")
    app = QApplication(["vsr", *arguments])
    app.setApplicationName("VSR")
    app.setOrganizationName("VSR")
    app.setApplicationVersion(vsr.__version__)
    app.setWindowIcon(QIcon(str(vsr.assets_dir() / "icons" / "vsr.svg")))
    translate(app)
    theme.apply(app)
    return app


def translate(app: QApplication) -> None:
    """Speak the default locale's language: Qt's own texts, and ours from ``translations/vsr_LANGUAGE.qm`` of the
    assets, as far as they are there."""
    for texts, folder in (("qtbase", QLibraryInfo.path(QLibraryInfo.LibraryPath.TranslationsPath)),
                          ("vsr", str(vsr.assets_dir() / "translations"))):
        translator = QTranslator(app)
        if translator.load(QLocale(), texts, "_", folder):
            app.installTranslator(translator)


def main(arguments: Sequence[str] | None = None, live: Mapping[str, Any] | None = None) -> int:
    """Open the window with the files that are named, or the Live page with what ``live`` asks for (`LivePage.watch`),
    and return when it is closed."""
    files = [Path(name) for name in (sys.argv[1:] if arguments is None else arguments)]
    app = application([])
    window = Window(QSettings())
    Faults(window).watch()
    signal.signal(signal.SIGINT, lambda *_: window.close())
    awake = QTimer(window, interval=250)  # so that Python looks whether Ctrl-C was pressed
    awake.timeout.connect(lambda: None)
    awake.start()
    window.show()
    if files:
        QTimer.singleShot(0, lambda: window.open(files))
    if live is not None:
        window.show_place("live")
        window.page.watch(**live)
    return app.exec()
