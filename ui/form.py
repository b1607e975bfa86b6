"""The settings of files in the queue, to be looked at and changed."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QSignalBlocker, QSize, Qt, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QSlider,
    QToolButton,
    QWidget,
)

import vsr
from ui import files, theme
from ui.items import UNRATED, Settings
from ui.models import offer

CODECS = {"h264": "H.264", "hevc": "HEVC", "av1": "AV1", "vp9": "VP9", "ffv1": "FFV1", "prores": "ProRes"}
_U = theme.UNIT


class Form(QWidget):
    """Settings, to be looked at and changed; ``changed`` brings the name of one and its value."""

    changed = Signal(str, object)

    def __init__(self) -> None:
        super().__init__()
        self.scale = QComboBox(editable=True)
        for text in ("×2", "×3", "×4", "720p", "1080p", "1440p", "4K"):
            self.scale.addItem(text, text.lower().replace("×", "x"))
        self.scale.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.model = QComboBox()
        offer(self.model)
        self.codec = QComboBox()
        self.codec.addItem(self.tr("Automatic"), "")
        for name in ("h264", "hevc", "av1", "vp9", "ffv1", "prores"):
            self.codec.addItem(CODECS[name], name)
        self.crf = QSlider(Qt.Orientation.Horizontal)
        self.crf.setRange(0, 51)
        self.crf.setInvertedAppearance(True)
        self.crf.setInvertedControls(True)
        self.crf_text = QLabel("CRF 51")
        theme.numbers(self.crf_text)
        self.crf_text.setMinimumWidth(self.crf_text.sizeHint().width() + _U)
        self.preset = QComboBox()
        for name in vsr.PRESETS[:-1]:  # "placebo" takes for ever, and gives nothing
            self.preset.addItem(name, name)
        self.folder = QLineEdit(clearButtonEnabled=True)
        self.folder.setPlaceholderText(self.tr("Beside the source"))
        self.choose = QToolButton()
        theme.set_icon(self.choose, "open")
        self.choose.setIconSize(QSize(2 * _U, 2 * _U))
        self.choose.setFixedHeight(3 * _U + 2)
        self.name = QLineEdit()
        self.existing = QComboBox()
        self.existing.addItem(self.tr("Keep both"), "number")
        self.existing.addItem(self.tr("Skip"), "skip")
        self.existing.addItem(self.tr("Replace"), "replace")
        self.wrong = QLabel(wordWrap=True)
        self.wrong.setObjectName("warning")
        self.wrong.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)

        rows: dict[QWidget, QHBoxLayout] = {}
        wide: tuple[tuple[QWidget, QWidget], ...] = ((self.crf, self.crf_text), (self.folder, self.choose))
        for field, beside in wide:
            rows[field] = QHBoxLayout()
            rows[field].setSpacing(4)
            rows[field].addWidget(field, 1)
            rows[field].addWidget(beside)
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.setVerticalSpacing(_U)
        form.setHorizontalSpacing(2 * _U)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        names = ", ".join(f"{{{name}}}: {text}" for name, text in vsr.NAMES.items())
        for text, field, tip in (
            (self.tr("Size"), self.scale, self.tr("How large: a factor, a screen, 1920x1080, or rows as in 1080")),
            (self.tr("Model"), self.model, self.tr("The network that makes the pixels")),
            (self.tr("Encoder"), self.codec, self.tr("Automatic is H.264, or what holds all that the source has")),
            (self.tr("Quality"), self.crf,
             self.tr("To the right it is better and larger; CRF 18 is hard to tell from perfect")),
            (self.tr("Effort"), self.preset, self.tr("How long the encoder tries: slower makes smaller files")),
            (self.tr("Folder"), self.folder,
             self.tr("Where the result goes; a name alone is a folder beside the source")),
            (self.tr("Name"), self.name, self.tr("The result's name, without its extension.") + f" {names}"),
            (self.tr("If it exists"), self.existing,
             self.tr("Keep both numbers the new file; sources are never replaced")),
        ):
            theme.name(field, text, tip)
            label = QLabel(text)
            label.setObjectName("quiet")
            label.setBuddy(field)
            if field in rows:
                form.addRow(label, rows[field])
            else:
                form.addRow(label, field)
        theme.name(self.choose, self.tr("Choose a folder"))
        form.addRow(self.wrong)
        self.wrong.hide()

        self.scale.activated.connect(lambda: self.changed.emit("size", self.scale.currentData()))
        self._edit(self.scale).editingFinished.connect(self._size_written)
        self.codec.activated.connect(lambda: self.changed.emit("codec", self.codec.currentData()))
        self.model.activated.connect(lambda: self.changed.emit("model", self.model.currentData()))
        self.preset.activated.connect(lambda: self.changed.emit("preset", self.preset.currentData()))
        self.existing.activated.connect(lambda: self.changed.emit("existing", self.existing.currentData()))
        self.crf.valueChanged.connect(lambda value: self.changed.emit("crf", float(value)))
        self.folder.editingFinished.connect(lambda: self.changed.emit("folder", self.folder.text().strip()))
        self.folder.textChanged.connect(self._folder_cleared)
        self.name.editingFinished.connect(lambda: self.changed.emit("name", self.name.text()))
        self.choose.clicked.connect(self._choose)

    @staticmethod
    def _edit(box: QComboBox) -> QLineEdit:
        edit = box.lineEdit()
        assert edit is not None
        return edit

    def show_settings(self, settings: Settings, wrong: str) -> None:
        """Without a word of ``changed``; ``wrong`` is what is wrong with them."""
        blockers = [QSignalBlocker(each) for each in (self.crf, self.folder, self.name)]
        place = self.scale.findData(settings.size)
        self.scale.setCurrentIndex(place)
        if place < 0:
            self.scale.setEditText(settings.size)
        for box, value in ((self.model, settings.model), (self.codec, settings.codec), (self.preset, settings.preset),
                           (self.existing, settings.existing)):
            box.setCurrentIndex(box.findData(value))
        self.crf.setValue(round(settings.crf))
        self.crf_text.setText(f"CRF {settings.crf:g}")
        for field, text in ((self.folder, settings.folder), (self.name, settings.name)):
            if field.text() != text:
                field.setText(text)
        rated = settings.codec not in UNRATED
        self.crf.setEnabled(rated)
        self.preset.setEnabled(rated)
        self.wrong.setText(wrong)
        self.wrong.setVisible(bool(wrong))
        del blockers

    def _size_written(self) -> None:
        text = self.scale.currentText().strip()
        place = self.scale.findText(text, Qt.MatchFlag.MatchFixedString)
        self.changed.emit("size", self.scale.itemData(place) if place >= 0 else text)

    def _folder_cleared(self, text: str) -> None:
        if not text:  # by the button in it, too
            self.changed.emit("folder", "")

    def _choose(self) -> None:
        files.ask(self, self.tr("Where results go"), self.folder.text(), self._chosen, QFileDialog.FileMode.Directory)

    def _chosen(self, folders: list[Path]) -> None:
        self.folder.setText(str(folders[0]))
        self.changed.emit("folder", str(folders[0]))
