"""The panel beside the canvas: what enlarges, how it is looked at, how well it goes, and how near it comes."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QStandardItemModel
from PySide6.QtWidgets import (
    QComboBox,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

import vsr
from ui import theme
from ui.canvas import Mode
from ui.models import DEFAULT, field_name, offer
from ui.views import Views

ENGINES, PRECISIONS = ("auto", "cpu", "cuda", "reference"), ("auto", "fp32", "fp16", "bf16", "int8")
WIDTH = 30 * theme.UNIT
_STAGES = ("decode", "upscale", "show")


class Inspector(QFrame):
    """``chosen`` tells of another model, scale, engine or precision; ``moded`` of another view; ``truth`` of what the
    sides are measured against: "", "restore" or "reference"."""

    chosen = Signal()
    moded = Signal(str)
    truth = Signal(str)
    louped = Signal(bool)
    make = Signal()
    save = Signal()
    export = Signal()
    open = Signal()

    def __init__(self) -> None:
        super().__init__(objectName="panel")
        self.setFixedWidth(WIDTH)
        self._entries: dict[str, tuple[int, ...]] = {}
        self._filling = True
        inner = QWidget()
        self._column = QVBoxLayout(inner)
        self._column.setContentsMargins(*[2 * theme.UNIT] * 4)
        self._column.setSpacing(theme.UNIT)
        area = QScrollArea(widgetResizable=True, horizontalScrollBarPolicy=Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        area.setWidget(inner)
        area.viewport().setAutoFillBackground(False)
        inner.setAutoFillBackground(False)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(area)
        self._add_file()
        self._add_choice()
        self._add_views()
        self._rule()
        self._add_meter()
        self._rule()
        self._add_scores()
        self._column.addStretch()
        self._add_outputs()
        self._filling = False

    # ---- its parts -------------------------------------------------------------------------------------------------

    def _rule(self) -> None:
        self._column.addWidget(QFrame(objectName="rule"))

    def _add_file(self) -> None:
        row = QHBoxLayout()
        self.file = theme.Elided(self.tr("No video"), objectName="title")
        self.about = QLabel("", objectName="quiet", wordWrap=True)
        self.opener = QToolButton(objectName="opener", popupMode=QToolButton.ToolButtonPopupMode.MenuButtonPopup)
        theme.set_icon(self.opener, "open")
        theme.name(self.opener, self.tr("Open"), self.tr("Open a video; the arrow has the recent ones"), "Ctrl+O")
        self.opener.clicked.connect(self.open)
        row.addWidget(self.file, 1)
        row.addWidget(self.opener)
        self._column.addLayout(row)
        self._column.addWidget(self.about)

    def _add_choice(self) -> None:
        grid = QGridLayout(horizontalSpacing=theme.UNIT, verticalSpacing=6)
        grid.setColumnStretch(1, 1)
        tips = {
            "model": (self.tr("Model"), self.tr("The network that enlarges: larger ones are sharper and slower")),
            "scale": (self.tr("Scale"),
                      self.tr("How many times as wide and high: 4 invents more, and takes more time")),
            "engine": (self.tr("Engine"),
                       self.tr("What computes the network: auto takes the fastest; all give nearly the same")),
            "precision": (self.tr("Precision"),
                          self.tr("How exactly it is computed: int8 is fastest and costs at most 0.02 dB")),
            "truth": (self.tr("Measure"),
                      self.tr("Compare both with the truth: the video itself, shrunk first, or a reference")),
        }
        self._boxes: dict[str, QComboBox] = {}
        for row, (name, (text, tip)) in enumerate(tips.items()):
            box = self._boxes[name] = QComboBox()
            box.setFocusPolicy(Qt.FocusPolicy.TabFocus)  # the mouse leaves the picture its keys
            box.setMinimumContentsLength(1)
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            theme.name(box, text, tip)
            label = QLabel(text, objectName="quiet")
            label.setBuddy(box)
            label.setToolTip(tip)
            grid.addWidget(label, row, 0)
            grid.addWidget(box, row, 1)
        for engine in ENGINES:
            self._boxes["engine"].addItem({"cpu": "CPU", "cuda": "CUDA"}.get(engine, engine), engine)
        for precision in PRECISIONS:
            self._boxes["precision"].addItem(precision, precision)
        self._boxes["model"].addItem(field_name(DEFAULT), DEFAULT)
        for scale in (2, 3, 4):
            self._boxes["scale"].addItem(f"×{scale}", scale)
        for truth, text in (("", self.tr("nothing")), ("restore", self.tr("itself, shrunk")),
                            ("reference", self.tr("a reference…"))):
            self._boxes["truth"].addItem(text, truth)
        for name, box in self._boxes.items():
            box.activated.connect(self._truth_chosen if name == "truth" else self._chosen)
        self._column.addLayout(grid)

    def _add_views(self) -> None:
        self._views = Views()
        self._views.moded.connect(self.moded)
        self.loupe = QToolButton(checkable=True)
        theme.set_icon(self.loupe, "loupe")
        theme.name(self.loupe, self.tr("Magnifier"),
                   self.tr("Both sides of what is under the mouse, four times as large"), "G")
        self.loupe.clicked.connect(self.louped)
        self._views.row.addWidget(self.loupe)
        self._column.addWidget(self._views)

    def _add_meter(self) -> None:
        grid = QGridLayout(horizontalSpacing=theme.UNIT, verticalSpacing=2)
        grid.setColumnStretch(0, 1)
        # Beside a stage's name stands which of them takes most, the bottleneck
        rows = {"fps": (self.tr("Frames a second"), self.tr("Shown, of those that the video has")),
                "decode": (self.tr("Decode"), self.tr("What reading a frame takes")),
                "upscale": (self.tr("Upscale"), self.tr("What making both sides of it takes, as far as they are seen")),
                "show": (self.tr("Show"), self.tr("What drawing it takes")),
                "dropped": (self.tr("Dropped"), self.tr("Frames that came too late to be shown"))}
        self._numbers: dict[str, tuple[QLabel, QLabel]] = {}
        for row, (name, (text, tip)) in enumerate(rows.items()):
            label, value = QLabel(text, objectName="quiet"), QLabel("–", alignment=Qt.AlignmentFlag.AlignRight)
            for each in (label, value):
                each.setToolTip(tip)
            theme.numbers(value)
            self._numbers[name] = label, value
            grid.addWidget(label, row, 0)
            grid.addWidget(value, row, 1)
        self._column.addLayout(grid)

    def _add_scores(self) -> None:
        self._scores = QWidget()
        grid = QGridLayout(self._scores, horizontalSpacing=theme.UNIT, verticalSpacing=2)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setColumnStretch(0, 1)
        self._score: dict[str, tuple[QLabel, QLabel]] = {}
        for column, text in ((1, "PSNR"), (2, "SSIM")):
            grid.addWidget(QLabel(text, objectName="quiet", alignment=Qt.AlignmentFlag.AlignRight), 0, column)
        for row, name in enumerate(("bicubic", "sr"), 1):
            first, second = (QLabel("–", alignment=Qt.AlignmentFlag.AlignRight) for _ in range(2))
            cells = first, second
            title = QLabel("Bicubic" if name == "bicubic" else self.tr("Super-resolution"), objectName="quiet")
            grid.addWidget(title, row, 0)
            for column, cell in enumerate(cells, 1):
                theme.numbers(cell)
                grid.addWidget(cell, row, column)
            self._score[name] = cells
        self._scores.setToolTip(self.tr("How near both come to the truth, in luma, where they are seen; "
                                        "PSNR in dB, SSIM at most 1. While it plays, of the middle alone."))
        self._scores.hide()
        self._column.addWidget(self._scores)

    def _add_outputs(self) -> None:
        self._outputs = []
        for icon, text, tip, key, asks in (
            ("queue", self.tr("Upscale in the queue"), self.tr("Let the queue make all of it, by this model and scale"),
             "U", self.make),
            ("save", self.tr("Save frame"), self.tr("Write both sides and the two beside each other as PNG"),
             "P", self.save),
            ("export", self.tr("Export comparison…"), self.tr("Write both, labelled; a video with sound"),
             "E", self.export),
        ):
            button = QPushButton(text, enabled=False)
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            theme.set_icon(button, icon)
            theme.name(button, text.rstrip("…"), tip, key)
            button.clicked.connect(asks)
            self._outputs.append(button)
            self._column.addWidget(button)

    # ---- what is chosen --------------------------------------------------------------------------------------------

    def fill(self) -> None:
        """Offer the models that there are; reading their files takes a moment."""
        self._entries = {name: entry.scales for name, entry in offer(self._boxes["model"]).items()}
        self._mend()

    def _mend(self) -> None:
        """Offer the scales that the model has."""
        box = self._boxes["scale"]
        scales = self._entries.get(self._boxes["model"].currentData(), (2, 3, 4))
        model = box.model()
        assert isinstance(model, QStandardItemModel)
        for row in range(box.count()):
            model.item(row).setEnabled(box.itemData(row) in scales)
        if box.currentData() not in scales:
            box.setCurrentIndex(box.findData(scales[0]))

    def _chosen(self) -> None:
        self._mend()
        self.chosen.emit()

    def _truth_chosen(self) -> None:
        self.truth.emit(self._boxes["truth"].currentData())

    @property
    def choice(self) -> vsr.Choice:
        model, scale, engine, precision = (self._boxes[name].currentData()
                                           for name in ("model", "scale", "engine", "precision"))
        return vsr.Choice(model, scale, engine, precision)

    def choose(self, **values: object) -> None:
        """Set what `choice` or the truth are; what there is not is left as it was."""
        for name, value in values.items():
            box = self._boxes[name]
            if name == "model" and not self._entries and box.findData(value) < 0:
                box.addItem(field_name(str(value)), value)  # until it is known what there is
            if (row := box.findData(value)) >= 0:
                box.setCurrentIndex(row)
        self._mend()

    # ---- what is shown ---------------------------------------------------------------------------------------------

    def show_file(self, name: str, about: str) -> None:
        self.file.setText(name or self.tr("No video"))
        self.about.setText(about)
        for button in self._outputs:
            button.setEnabled(bool(name))
        if not name:
            for _, value in self._numbers.values():
                value.setText("–")

    def show_mode(self, mode: Mode) -> None:
        self._views.show_mode(mode)

    def show_meter(self, meter: vsr.Meter, playing: bool) -> None:
        wanted = f" / {meter.video_fps:.4g}" if meter.video_fps else ""
        self._numbers["fps"][1].setText(f"{meter.fps:.1f}{wanted}" if playing else f"–{wanted}")
        for stage in _STAGES:
            label, value = self._numbers[stage]
            value.setText(f"{meter.stage_ms[stage]:.1f} ms")
            most = playing and stage == meter.bottleneck
            value.setStyleSheet("font-weight: 600" if most else "")
            label.setText({"decode": self.tr("Decode"), "upscale": self.tr("Upscale"), "show": self.tr("Show")}[stage]
                          + (self.tr(" · most") if most else ""))
        self._numbers["dropped"][1].setText(f"{meter.dropped}")

    def show_scores(self, scores: vsr.Scores | None, measuring: bool) -> None:
        self._scores.setVisible(measuring)
        if scores is None and measuring:
            return
        for name, cells in self._score.items():
            metrics = getattr(scores, name, None)
            cells[0].setText("–" if metrics is None else f"{metrics.psnr:.2f}")
            cells[1].setText("–" if metrics is None else f"{metrics.ssim:.4f}")
