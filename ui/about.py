"""The page about VSR and this machine: what runs here, and why."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PySide6.QtCore import QProcess, QProcessEnvironment, QSettings, Qt, Signal
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import (
    QApplication,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

import vsr
from ui import theme


class AboutPage(QWidget):
    """What `vsr doctor` says, asked of another process: finding out may take seconds and much memory."""

    message = Signal(str, str, object)
    go = Signal(str, list)
    icon_name = "about"

    def __init__(self) -> None:
        super().__init__()
        self.title = self.tr("About")
        self._facts: dict[str, Any] = {}
        self._asked: QProcess | None = None
        head = QLabel(f"VSR {vsr.__version__}", objectName="title")
        what = QLabel(self.tr("Real-time video super-resolution: small video in, big and sharp out, on a plain CPU."),
                      objectName="quiet", wordWrap=True)
        self._copy = QPushButton(self.tr("Copy"), enabled=False)
        theme.name(self._copy, self.tr("Copy"), self.tr("Copy all of this, for a report"))
        self._copy.clicked.connect(lambda: QApplication.clipboard().setText(json.dumps(self._facts, indent=1)))
        self._again = QPushButton(self.tr("Look again"))
        theme.name(self._again, self.tr("Look again"), self.tr("Find out anew what this machine can do"))
        self._again.clicked.connect(self._ask)
        self._rows = QGridLayout(horizontalSpacing=3 * theme.UNIT, verticalSpacing=theme.UNIT)
        self._rows.setColumnStretch(1, 1)
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(*[4 * theme.UNIT] * 4)
        column.setSpacing(theme.UNIT)
        for widget in (head, what):
            column.addWidget(widget)
        column.addSpacing(theme.UNIT)
        column.addLayout(self._rows)
        buttons = QHBoxLayout()
        for button in (self._copy, self._again):
            buttons.addWidget(button)
        buttons.addStretch()
        column.addSpacing(theme.UNIT)
        column.addLayout(buttons)
        column.addStretch()
        inner.setMaximumWidth(110 * theme.UNIT)
        area = QScrollArea(widgetResizable=True)
        area.setWidget(inner)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(area)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if not self._facts:
            self._ask()

    def _ask(self) -> None:
        if self._asked is not None:
            return
        self._fill([("", self.tr("Looking at this machine…"))])
        self._again.setEnabled(False)
        process = self._asked = QProcess(self)
        environment = QProcessEnvironment.systemEnvironment()
        home = str(Path(vsr.__file__).parents[1])  # found there by the other process, too
        environment.insert("PYTHONPATH", os.pathsep.join(filter(None, (home, environment.value("PYTHONPATH")))))
        process.setProcessEnvironment(environment)
        process.finished.connect(self._answered)
        process.errorOccurred.connect(self._answered)
        process.start(sys.executable, ["-m", "vsr", "doctor", "--json"])

    def _answered(self, *_: object) -> None:
        process, self._asked = self._asked, None
        if process is None:
            return
        self._again.setEnabled(True)
        said = bytes(process.readAllStandardOutput().data()).decode("utf-8", "replace")
        details = bytes(process.readAllStandardError().data()).decode("utf-8", "replace") or process.errorString()
        process.deleteLater()
        try:
            self._facts = json.loads(said)
        except ValueError:
            self._fill([("", self.tr("What this machine can do could not be found out."))])
            self.message.emit(self.tr("'vsr doctor' failed"), self.tr("Copy details"),
                              lambda: QApplication.clipboard().setText(details))
            return
        self._copy.setEnabled(True)
        self._fill(self._said(self._facts))

    def _said(self, facts: dict[str, Any]) -> Iterable[tuple[str, str]]:
        none = self.tr("none")
        yield self.tr("Engine"), f"{facts['engine']} {facts['precision']}: {facts['why']}"
        cores = self.tr("1 core") if facts["cpu"]["cores"] == 1 else self.tr("{0} cores").format(facts["cpu"]["cores"])
        yield self.tr("Processor"), f"{facts['cpu']['name']}, {cores}"
        yield self.tr("Its features"), " ".join(facts["cpu"]["features"]) or none
        gpu = facts["cuda"]
        yield self.tr("GPU"), f"{gpu['name']}, {gpu['memory_gib']} GiB" if gpu else none
        yield self.tr("Encoders"), ", ".join(facts["encoders"])
        yield self.tr("Cameras"), ", ".join(camera["name"] for camera in facts["cameras"]) or none
        yield self.tr("Versions"), "\n".join(f"{name} {version}" for name, version in facts["versions"].items())
        yield self.tr("Papers"), "Dong, Loy, He, Tang: ECCV 2014, TPAMI 2016; Dong, Loy, Tang: ECCV 2016"

    def _fill(self, rows: Iterable[tuple[str, str]]) -> None:
        while (item := self._rows.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.deleteLater()
        top = Qt.AlignmentFlag.AlignTop
        for row, (name, text) in enumerate(rows):
            value = QLabel(text, wordWrap=True)
            value.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            self._rows.addWidget(QLabel(name, objectName="quiet"), row, 0, top | Qt.AlignmentFlag.AlignRight)
            self._rows.addWidget(value, row, 1, top)

    def busy(self) -> str | None:
        return None

    def shut(self) -> None:
        process, self._asked = self._asked, None
        if process is not None:
            process.kill()
            process.waitForFinished()

    def open(self, paths: list[Path]) -> None:
        """Files are not for this page."""

    def save_state(self, settings: QSettings) -> None:
        """There is nothing to keep."""

    def restore_state(self, settings: QSettings) -> None:
        """There was nothing to keep."""
