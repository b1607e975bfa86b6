"""What the desktop around the window is told: that all is done, and how far it is."""

from __future__ import annotations

import contextlib
import os
import sys

from PySide6.QtCore import QObject, QProcess, QTimer
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QSystemTrayIcon

_NOTICE_MS = 15_000  # how long a notification, and an icon that shows it, stay
_LAUNCHER = "com.canonical.Unity.LauncherEntry"  # what the taskbars of KDE, Ubuntu and others listen to
_NOTICES = "org.freedesktop.Notifications"


class Desktop(QObject):
    """Tells it where it can be told; nothing comes of it where not."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._tray: QSystemTrayIcon | None = None
        self._percent: int | None = None

    def notify(self, text: str) -> None:
        if QSystemTrayIcon.isSystemTrayAvailable() and QSystemTrayIcon.supportsMessages():
            self._tray = self._tray or QSystemTrayIcon(QGuiApplication.windowIcon(), self)
            self._tray.show()
            self._tray.showMessage("VSR", text, QSystemTrayIcon.MessageIcon.Information, _NOTICE_MS)
            QTimer.singleShot(_NOTICE_MS, self._tray, self._tray.hide)
        elif sys.platform == "linux":  # GNOME has notifications, and no tray
            place = "/" + _NOTICES.replace(".", "/")
            QProcess.startDetached("gdbus", [
                "call", "--session", "--dest", _NOTICES, "--object-path", place, "--method", f"{_NOTICES}.Notify",
                "VSR", "0", QGuiApplication.desktopFileName(), "VSR", text, "[]", "{}", str(_NOTICE_MS)])

    def progress(self, share: float | None) -> None:
        """Show in the taskbar how much is done, 0 to 1; None where nothing is being made."""
        percent = None if share is None else round(100 * share)
        if percent == self._percent or "DBUS_SESSION_BUS_ADDRESS" not in os.environ:
            return
        self._percent = percent
        with contextlib.suppress(ImportError):
            from PySide6.QtDBus import QDBusConnection, QDBusMessage

            update = QDBusMessage.createSignal("/vsr", _LAUNCHER, "Update")
            update.setArguments([f"application://{QGuiApplication.desktopFileName()}.desktop",
                                 {"progress": (percent or 0) / 100, "progress-visible": percent is not None}])
            QDBusConnection.sessionBus().send(update)

    def shut(self) -> None:
        self.progress(None)
        if self._tray is not None:
            self._tray.hide()
