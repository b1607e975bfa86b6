"""Files as people choose them, and as the system's file manager shows them. Nothing here waits."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QCoreApplication, QProcess, Qt, QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QFileDialog, QWidget

import vsr


def ask(parent: QWidget, title: str, folder: str, then: Callable[[list[Path]], object],
        mode: QFileDialog.FileMode = QFileDialog.FileMode.ExistingFiles) -> None:
    """Let files that there are be chosen, or with another ``mode`` one, or a folder; ``then`` gets what was."""
    dialog = _dialog(parent, title, folder, then)
    dialog.setFileMode(mode)
    if mode is QFileDialog.FileMode.Directory:
        dialog.setOption(QFileDialog.Option.ShowDirsOnly)
    else:
        kinds = " ".join(f"*{suffix} *{suffix.upper()}" for suffix in sorted(vsr.SUFFIXES))
        dialog.setNameFilters([f"{QCoreApplication.translate('files', 'Videos and pictures')} ({kinds})",
                               f"{QCoreApplication.translate('files', 'All files')} (*)"])
    dialog.open()


def ask_where(parent: QWidget, title: str, proposed: Path, then: Callable[[list[Path]], object]) -> None:
    """Let the name of a file to be written be chosen, with the ending of the one that is ``proposed``."""
    dialog = _dialog(parent, title, str(proposed.parent), then)
    dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
    dialog.setDefaultSuffix(proposed.suffix)
    dialog.selectFile(proposed.name)
    dialog.open()


def _dialog(parent: QWidget, title: str, folder: str, then: Callable[[list[Path]], object]) -> QFileDialog:
    dialog = QFileDialog(parent, title, folder)
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.filesSelected.connect(lambda names: then([Path(name) for name in names]))
    return dialog


def show(path: Path, parent: QWidget) -> None:
    """Let the system's file manager show ``path``, chosen where it can; else its folder."""
    if sys.platform == "win32":
        QProcess.startDetached("explorer", [f"/select,{path}"])
    elif sys.platform == "darwin":
        QProcess.startDetached("open", ["-R", str(path)])
    else:
        def instead(*_: object) -> None:
            if process.error() != QProcess.ProcessError.UnknownError or process.exitCode():
                QDesktopServices.openUrl(QUrl.fromLocalFile(str(path.parent)))
            process.deleteLater()

        process = QProcess(parent)
        process.finished.connect(instead)
        process.errorOccurred.connect(instead)
        url = QUrl.fromLocalFile(str(path)).toString(QUrl.ComponentFormattingOption.FullyEncoded)
        process.start("dbus-send", [
            "--session", "--print-reply", "--dest=org.freedesktop.FileManager1", "/org/freedesktop/FileManager1",
            "org.freedesktop.FileManager1.ShowItems", f"array:string:{url}", "string:"])
