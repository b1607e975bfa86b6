"""The Queue page: the list, what is known of the chosen item, and its settings. `ui.work` does the work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from PySide6.QtCore import (
    QEvent,
    QItemSelectionModel,
    QMimeData,
    QRect,
    QSettings,
    QSize,
    Qt,
    QTimer,
    QUrl,
    Signal,
)
from PySide6.QtGui import (
    QAction,
    QDesktopServices,
    QDragEnterEvent,
    QDropEvent,
    QFocusEvent,
    QGuiApplication,
    QImage,
    QKeySequence,
    QPainter,
    QPaintEvent,
    QResizeEvent,
)
from PySide6.QtWidgets import (
    QApplication,
    QCheckBox,
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSplitter,
    QStackedWidget,
    QTabWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

import vsr
from ui import files, theme
from ui.desktop import Desktop
from ui.form import Form
from ui.items import ENDED, TO_DO, Item, Settings, State, brief, duration, shown
from ui.rows import Rows, paint_picture, reason
from ui.work import Queue, local_paths

_U = theme.UNIT
_WIDE = 96 * _U  # pixels, from which on the buttons have texts
_HIGH = 72 * _U  # pixels, from which on there is room for a picture that the list has, too
_SETTINGS, _REPORT, _NEW_FILES = range(3)  # tabs


class _Tools(QFrame):
    """Its buttons' texts go where there is no room for them."""

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        style = (Qt.ToolButtonStyle.ToolButtonTextBesideIcon if self.width() >= _WIDE else
                 Qt.ToolButtonStyle.ToolButtonIconOnly)
        for button in self.findChildren(QToolButton):
            if button.toolButtonStyle() is not Qt.ToolButtonStyle.ToolButtonIconOnly or button.property("texted"):
                button.setProperty("texted", True)
                button.setToolButtonStyle(style)


class _Pair(QWidget):
    """The source's picture and the result's, side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures: tuple[QImage | None, QImage | None] = (None, None)
        self.setFixedHeight(14 * _U)
        theme.name(self, self.tr("Source and result"), self.tr("The same moment of the source and of the result"))

    def show_item(self, item: Item | None) -> None:
        pictures = (item.before, item.after) if item else (None, None)
        if pictures != self.pictures:
            self.pictures = pictures
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        width = (self.width() - _U) // 2
        line = self.fontMetrics().lineSpacing()
        texts = self.tr("Source"), self.tr("Result")
        for number, (picture, text) in enumerate(zip(self.pictures, texts, strict=True)):
            place = QRect(number * (width + _U), 0, width, self.height() - line - 4)
            paint_picture(painter, place, picture)
            painter.setPen(theme.color("quiet"))
            painter.drawText(QRect(place.left(), place.bottom() + 4, width, line), Qt.AlignmentFlag.AlignLeft, text)


class QueuePage(QWidget):
    """A page of the window: see there for what pages have."""

    title = "Queue"
    icon_name = "queue"
    message = Signal(str, str, object)
    go = Signal(str, list)

    def __init__(self, queue: Queue | None = None) -> None:
        super().__init__()
        self.queue = queue or Queue()
        self.queue.setParent(self)
        self._folder = ""  # that files were last chosen from
        self._desktop = Desktop(self)
        self._any_chosen = True
        self.setAcceptDrops(True)
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)  # Tab goes past it: it hands the focus on to the list
        self.list = Rows(self.queue)
        self._make_actions()
        self.stack = QStackedWidget()
        self.stack.addWidget(self._empty())
        self.stack.addWidget(self.list)
        self.stack.setMinimumWidth(45 * _U)
        self.details = self._make_details()
        self.split = QSplitter(Qt.Orientation.Horizontal)
        self.split.setHandleWidth(1)
        self.split.addWidget(self.stack)
        self.split.addWidget(self.details)
        self.split.setStretchFactor(0, 1)
        self.split.setCollapsible(0, False)
        self.split.setSizes([100 * _U, 44 * _U])
        page = QVBoxLayout(self)
        page.setContentsMargins(0, 0, 0, 0)
        page.setSpacing(0)
        page.addWidget(self._tools())
        page.addWidget(self.split, 1)
        self._footer = self._foot()
        page.addWidget(self._footer)
        self._later = QTimer(self, singleShot=True, interval=0)  # many changes, one look
        self._later.timeout.connect(self._refresh)

        self.queue.said.connect(self.message)
        self.queue.progressed.connect(self._later.start)
        self.queue.dataChanged.connect(self._later.start)
        self.queue.rowsInserted.connect(self._later.start)
        self.queue.rowsRemoved.connect(self._later.start)
        self.queue.ran_out.connect(self._ran_out)
        self.list.selectionModel().selectionChanged.connect(self._later.start)
        self.list.activated.connect(self.open_result.trigger)  # which does nothing while it is disabled
        self._dress()
        self._refresh()

    # -- as every page --

    def busy(self) -> str | None:
        item = self.queue.running
        if item is None:
            return None
        return self.tr("{} is being made; it would start again from its beginning.").format(brief(item.path.name))

    def shut(self) -> None:
        self._later.stop()
        self.queue.shut()
        self._desktop.shut()

    def foot(self) -> int:
        return self._footer.height()

    @property
    def aside(self) -> QWidget:
        return self.details

    def keys(self) -> list[tuple[str, str]]:
        texts = {self.start: self.tr("Start, pause, go on"), self.hold: self.tr("Pause the chosen files, go on"),
                 self.cancel: self.tr("Cancel the chosen files"), self.open_result: self.tr("Open the result"),
                 self.compare: self.tr("Compare the result")}
        return [(_native(action), texts.get(action, action.text())) for action in self.actions()]

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        if self.queue.items:
            self.list.setFocus()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._later.start()

    def open(self, paths: list[Path]) -> None:
        """Put files, and what is in folders, behind what waits."""
        self.queue.add(paths)

    def make(self, path: Path, choice: vsr.Choice) -> None:
        """Put ``path`` behind what waits, to be made as it was looked at."""
        assert isinstance(choice.model, str)
        path, settings = path.absolute(), replace(self.queue.defaults, size=f"x{choice.scale}", model=choice.model)
        self.queue.add([path], settings=settings)
        self._choose([item for item in self.queue.items if item.path == path and item.settings == settings][-1:])

    def save_state(self, settings: QSettings) -> None:
        settings.setValue("split", self.split.saveState())
        settings.setValue("folder", self._folder)
        settings.setValue("notify", self.notify.isChecked())
        settings.setValue("details", self.panel.isChecked())

    def restore_state(self, settings: QSettings) -> None:
        if (state := settings.value("split")) is not None:
            self.split.restoreState(state)
        self._folder = str(settings.value("folder", ""))
        self.notify.setChecked(bool(settings.value("notify", True, bool)))
        self.panel.setChecked(bool(settings.value("details", True, bool)))
        self.details.setVisible(self.panel.isChecked())
        self.queue.restore()

    # -- parts --

    def _make_actions(self) -> None:
        def action(icon: str, text: str, tip: str, keys: str, run: Callable[[], object]) -> QAction:
            made = QAction(text, self)
            made.setObjectName(icon)
            made.setShortcut(QKeySequence(keys))
            made.setShortcutContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            _tell(made, text, tip)
            made.triggered.connect(lambda: run())  # without its argument
            self.addAction(made)
            return made

        queue = self.queue
        self.add_files = action("add", self.tr("Add files"), self.tr("Choose videos and pictures"),
                                "Ins", self.ask_for_files)
        self.add_folder = action("open", self.tr("Add folder"),
                                 self.tr("Choose a folder: all videos and pictures in it"),
                                 "Shift+Ins", self._add_folder)
        self.start = action("", self.tr("Start"), self.tr("Make all that waits, one after another"), "Ctrl+Return",
                            self._start_or_pause)
        self.cancel_all = action("stop", self.tr("Cancel all"),
                                 self.tr("Make nothing more; what is begun leaves nothing behind"),
                                 "Ctrl+Shift+Backspace", queue.cancel_all)
        self.hold = action("pause", self.tr("Pause"), self.tr("Leave the chosen files out until they go on"), "Ctrl+P",
                           self._hold_or_release)
        self.cancel = action("close", self.tr("Cancel"), self.tr("Do not make the chosen files"), "Ctrl+Backspace",
                             lambda: queue.cancel(self.chosen()))
        self.again = action("again", self.tr("Try again"),
                            self.tr("Make the chosen files again, from their beginning"), "Ctrl+R",
                            self._try_again)
        self.duplicate = action("copy", self.tr("Duplicate"), self.tr("The same again, to be made otherwise"), "Ctrl+D",
                                lambda: self._choose(queue.duplicate(self.chosen())))
        self.up = action("earlier", self.tr("Earlier"), self.tr("Move the chosen files up"), "Alt+Up",
                         lambda: queue.move(self.chosen(), -1))
        self.down = action("later", self.tr("Later"), self.tr("Move the chosen files down"), "Alt+Down",
                           lambda: queue.move(self.chosen(), 1))
        self.remove = action("remove", self.tr("Remove"),
                             self.tr("Take the chosen files out of the list; no file is deleted"),
                             "Del", lambda: queue.remove(self.chosen()))
        self.open_result = action("play", self.tr("Open"),
                                  self.tr("Open the result in the program that is for such files"),
                                  "Ctrl+Shift+O", lambda: self._with_result(self._open))
        self.reveal = action("open", self.tr("Show in folder"), self.tr("Show where the result lies"),
                             "Ctrl+Shift+Return",
                             lambda: self._with_result(self._reveal))
        self.reveal.setIconText(self.tr("Folder"))
        self.compare = action("compare", self.tr("Compare"),
                              self.tr("Play the result beside its source on the Compare page"),
                              "Ctrl+K", lambda: self._with_result(self._compare))
        self.panel = action("panel", self.tr("Details"), self.tr("Show or hide what is known of the chosen file"), "F9",
                            lambda: self.details.setVisible(self.panel.isChecked()))
        self.panel.setCheckable(True)
        self.panel.setChecked(True)
        paste = QAction(self, shortcut=QKeySequence(QKeySequence.StandardKey.Paste))
        paste.setShortcutContext(Qt.ShortcutContext.WidgetShortcut)
        paste.triggered.connect(lambda: queue.add(local_paths(QGuiApplication.clipboard().mimeData())))
        self.list.addActions([paste])
        self.list.addActions([self.open_result, self.reveal, self.compare, _line(self), self.hold, self.cancel,
                              self.again, self.duplicate, self.up, self.down, self.remove])

    def _button(self, action: QAction, text: bool = False) -> QToolButton:
        button = QToolButton()
        button.setDefaultAction(action)
        button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        button.setToolButtonStyle(
            Qt.ToolButtonStyle.ToolButtonTextBesideIcon if text else Qt.ToolButtonStyle.ToolButtonIconOnly)
        button.setAccessibleName(action.text())
        action.changed.connect(lambda: button.setAccessibleName(action.text()))
        button.setIconSize(QSize(theme.ICON, theme.ICON))
        return button

    def _tools(self) -> QWidget:
        bar = _Tools()
        bar.setObjectName("head")
        row = QHBoxLayout(bar)
        row.setContentsMargins(_U, _U, _U, _U)
        row.setSpacing(4)
        for action in (self.add_files, self.add_folder):
            row.addWidget(self._button(action, True))
        row.addSpacing(2 * _U)
        self.start_button = QPushButton()
        self.start_button.setObjectName("main")
        self.start_button.setToolTip(self.start.toolTip())
        self.start_button.clicked.connect(self.start.trigger)
        row.addWidget(self.start_button)
        row.addWidget(self._button(self.cancel_all, True))
        row.addStretch(1)
        for action in (self.up, self.down, self.hold, self.cancel, self.again, self.duplicate, self.remove):
            row.addWidget(self._button(action))
        row.addSpacing(_U)
        row.addWidget(self._button(self.panel))
        return bar

    def _empty(self) -> QWidget:
        empty = QWidget()
        column = QVBoxLayout(empty)
        column.setSpacing(_U)
        column.addStretch(2)
        title = QLabel(self.tr("Drop videos, pictures or folders here"))
        title.setObjectName("title")
        text = QLabel(self.tr("They are made larger one after another, while you do something else."), wordWrap=True)
        text.setObjectName("quiet")
        for label in (title, text):
            label.setAlignment(Qt.AlignmentFlag.AlignCenter)
            column.addWidget(label)
        row = QHBoxLayout()
        row.addStretch(1)
        for action in (self.add_files, self.add_folder):
            button = QPushButton(action.text() + "…")
            button.setToolTip(action.toolTip())
            button.setAccessibleName(action.text())
            button.clicked.connect(action.trigger)
            row.addWidget(button)
        row.addStretch(1)
        column.addSpacing(_U)
        column.addLayout(row)
        column.addStretch(3)
        return empty

    def _make_details(self) -> QWidget:
        panel = QFrame()
        panel.setObjectName("panel")
        panel.setMinimumWidth(40 * _U)
        column = QVBoxLayout(panel)
        column.setContentsMargins(2 * _U, 2 * _U, 2 * _U, 2 * _U)
        column.setSpacing(_U)
        self.heading = theme.Elided()
        self.heading.setObjectName("title")
        self.reason = QLabel(wordWrap=True)
        self.reason.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.pair = _Pair()
        self.results = QWidget()
        row = QHBoxLayout(self.results)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        self._of_results = [self._button(each, True) for each in (self.open_result, self.reveal, self.compare)]
        self._of_others = self._button(self.again, True)
        for button in (*self._of_results, self._of_others):
            row.addWidget(button)
        row.addStretch(1)
        self.form, self.default_form = Form(), Form()
        self.form.changed.connect(lambda name, value: self.queue.set(self.chosen(), **{name: value}))
        self.default_form.changed.connect(
            lambda name, value: self.queue.set_defaults(Settings(**asdict(self.queue.defaults) | {name: value})))
        self.fixed = QLabel(wordWrap=True)
        self.fixed.setObjectName("quiet")
        self.adopt = QPushButton(self.tr("Use for new files"))
        theme.name(self.adopt, self.adopt.text(), self.tr("Files that are added from now on are made like this one"))
        self.adopt.clicked.connect(self._adopt)
        self.report = QPlainTextEdit(readOnly=True)
        self.report.setObjectName("report")
        theme.name(self.report, self.tr("Report"), self.tr("What the self-check found, and what happened when"))
        theme.numbers(self.report)
        self.tabs = QTabWidget(documentMode=True)
        self.tabs.tabBar().setDrawBase(False)
        self.tabs.addTab(_scrolled(self.fixed, self.form, self.adopt), self.tr("Settings"))
        self.tabs.addTab(self.report, self.tr("Report"))
        self.tabs.addTab(_scrolled(self.default_form), self.tr("New files"))
        for number, tip in enumerate((self.tr("How the chosen files are made"), self.tr("Self-check and log"),
                                      self.tr("How files are made that are added from now on"))):
            self.tabs.setTabToolTip(number, tip)
        for widget in (self.heading, self.reason, self.pair, self.results):
            column.addWidget(widget)
        column.addWidget(self.tabs, 1)
        return panel

    def _foot(self) -> QWidget:
        foot = QFrame()
        foot.setObjectName("foot")
        row = QHBoxLayout(foot)
        row.setContentsMargins(2 * _U, _U, 2 * _U, _U)
        row.setSpacing(2 * _U)
        self.bar = QProgressBar(maximum=1000, textVisible=False)
        theme.name(self.bar, self.tr("Progress of all files"))
        self.whole = QLabel()
        theme.numbers(self.whole)
        self.notify = QCheckBox(self.tr("Notify when all is done"))
        self.notify.setChecked(True)
        theme.name(self.notify, self.notify.text(), self.tr("Show a message of the system when the last file is done"))
        policy = self.bar.sizePolicy()
        policy.setRetainSizeWhenHidden(True)
        self.bar.setSizePolicy(policy)
        row.addWidget(self.whole)
        row.addWidget(self.bar, 1)
        row.addWidget(self.notify)
        return foot

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange:
            self._dress()

    def _dress(self) -> None:
        """Icons in the colours that are so now."""
        for action in self.actions():
            if action.objectName():
                action.setIcon(theme.icon(action.objectName()))

    # -- what is chosen --

    def chosen(self) -> list[Item]:
        """The items that are selected, in their order."""
        rows = sorted(index.row() for index in self.list.selectionModel().selectedRows())
        return [self.queue.items[row] for row in rows]

    def _choose(self, items: list[Item]) -> None:
        model = self.list.selectionModel()
        model.clear()
        for item in items:
            index = self.queue.index(self.queue.items.index(item))
            model.select(index, QItemSelectionModel.SelectionFlag.Select)
            model.setCurrentIndex(index, QItemSelectionModel.SelectionFlag.NoUpdate)

    def _refresh(self) -> None:
        """Let everything show what is so now."""
        queue, chosen = self.queue, self.chosen()
        self.stack.setCurrentIndex(bool(queue.items))
        running, paused = queue.running, queue.paused
        text, tip = self.tr("Start"), self.tr("Make all that waits, one after another")
        if running is not None:
            text, tip = ((self.tr("Go on"), self.tr("Go on with what stands still")) if paused else
                         (self.tr("Pause"), self.tr("Let what is being made stand still, and nothing else begin")))
        waiting = any(item.state in TO_DO for item in queue.items)
        _tell(self.start, text, tip)
        self.start.setEnabled(waiting if running is None else not running.stopping)
        self.start_button.setText(text)
        self.start_button.setEnabled(self.start.isEnabled())
        self.start_button.setAccessibleName(text)
        self.start_button.setToolTip(self.start.toolTip())
        self.cancel_all.setEnabled(waiting or running is not None)
        held = [item for item in chosen if item.state is State.PAUSED]
        going = [item for item in chosen if item.state in (*TO_DO, State.RUNNING) and not item.stopping]
        releases = bool(held) and not going
        if releases:
            _tell(self.hold, self.tr("Go on"), self.tr("Let the chosen files go on"))
        else:
            _tell(self.hold, self.tr("Pause"), self.tr("Leave the chosen files out until they go on"))
        if self.hold.objectName() != (icon := "play" if releases else "pause"):
            self.hold.setObjectName(icon)
            self.hold.setIcon(theme.icon(icon))
        self.hold.setEnabled(bool(held or going))
        self.cancel.setEnabled(bool(held or going))
        self.again.setEnabled(any(item.state in ENDED for item in chosen))
        for action in (self.duplicate, self.remove):
            action.setEnabled(bool(chosen))
        self.up.setEnabled(bool(chosen) and chosen != queue.items[: len(chosen)])
        self.down.setEnabled(bool(chosen) and chosen != queue.items[-len(chosen) :])
        item = chosen[0] if len(chosen) == 1 else None
        for action in (self.open_result, self.reveal, self.compare):
            action.setEnabled(item is not None and item.state is State.DONE)
        self._refresh_details(chosen, item)
        self._refresh_whole()

    def _refresh_details(self, chosen: list[Item], item: Item | None) -> None:
        if bool(chosen) != self._any_chosen:
            self._any_chosen = bool(chosen)
            for tab in (_SETTINGS, _REPORT):
                self.tabs.setTabVisible(tab, bool(chosen))
            if chosen and self.tabs.currentIndex() == _NEW_FILES:
                self.tabs.setCurrentIndex(_SETTINGS)
            elif not chosen:
                self.tabs.setCurrentIndex(_NEW_FILES)
        heading = item.name if item else (
            self.tr("{} files").format(len(chosen)) if chosen else self.tr("How new files are made"))
        self.heading.setText(heading)
        self.heading.setToolTip(shown(str(item.path)) if item else "")
        self.reason.setText(reason(item) if item else "")
        self.reason.setVisible(bool(self.reason.text()))
        self.pair.show_item(item)
        self.pair.setVisible(item is not None and (item.after is not None or (
            item.before is not None and self.height() >= _HIGH)))
        self.results.setVisible(item is not None and item.state in ENDED)
        for button in self._of_results:
            button.setVisible(item is not None and item.state is State.DONE)
        self._of_others.setVisible(item is not None and item.state is not State.DONE)
        free = [each for each in chosen if self.queue.is_open(each)]
        self.form.setVisible(bool(chosen))
        self.adopt.setVisible(item is not None)
        self.form.setEnabled(bool(free))
        self.fixed.setText(
            self.tr("It is made with these. To make it otherwise, duplicate it.") if chosen and not free else "")
        self.fixed.setVisible(bool(self.fixed.text()))
        if chosen:
            settings = (free or chosen)[0].settings
            self.form.show_settings(settings, self.queue.wrong(settings) if free else "")
        self.default_form.show_settings(self.queue.defaults, self.queue.wrong(self.queue.defaults))
        report = self._report(item) if item else ""
        if report != self.report.toPlainText():
            self.report.setPlainText(report)
            bar = self.report.verticalScrollBar()
            bar.setValue(bar.maximum() if item and self.queue.is_running(item) else 0)

    def _report(self, item: Item) -> str:
        lines = []
        if item.checks:
            good = sum(bool(check.get("ok")) for check in item.checks)
            lines.append(self.tr("Self-check: {} of {} hold").format(good, len(item.checks)))
            for check in item.checks:
                got = check.get("got")
                value = "" if got is True else f": {shown(str(got))}"
                name = str(check.get("name")).replace("_", " ")
                lines.append(f"✓  {name}{value}" if check.get("ok") else
                             self.tr("✗  {}{}, expected {}").format(name, value, check.get("expected")))
            lines.append("")
        return "\n".join([*lines, *map(str, item.log)])

    def _refresh_whole(self) -> None:
        queue = self.queue
        share, left = queue.share, queue.to_do
        self.bar.setVisible(share is not None)
        if share is not None:
            self.bar.setValue(round(1000 * share))
        texts = []
        if queue.items:
            done = sum(item.state in (State.DONE, State.SKIPPED) for item in queue.items)
            failed = sum(item.state is State.FAILED for item in queue.items)
            texts.append(self.tr("{} of {} done").format(done, len(queue.items)))
            texts += [self.tr("{} failed").format(failed)] if failed else []
            if queue.running is not None:
                if queue.running.frame:
                    texts.append(self.tr("{:.1f} fps").format(queue.running.fps))
                if (eta_s := queue.eta_s) is not None:
                    texts.append(self.tr("{} left").format(duration(eta_s)))
        self.whole.setText("  ·  ".join(texts))
        active = queue.running is not None
        self.setWindowTitle(f"{share:.0%}" if active and share is not None else "")
        self._desktop.progress(share if active else None)
        app = QGuiApplication.instance()
        if isinstance(app, QGuiApplication):
            app.setBadgeNumber(left if active else 0)

    # -- what is done --

    def _start_or_pause(self) -> None:
        if self.queue.running is not None and not self.queue.paused:
            self.queue.pause()
        else:
            self.queue.start()

    def _hold_or_release(self) -> None:
        chosen = self.chosen()
        if any(item.state in (*TO_DO, State.RUNNING) for item in chosen):
            self.queue.hold(chosen)
        else:
            self.queue.release(chosen)

    def _try_again(self) -> None:
        """At once where nothing else waits for its start."""
        alone = not any(item.state in TO_DO for item in self.queue.items)
        self.queue.retry(self.chosen())
        if alone and not self.queue.started:
            self.queue.start()

    def _adopt(self) -> None:
        self.queue.set_defaults(self.chosen()[0].settings)
        self.message.emit(self.tr("New files are made like this one."), "", None)

    def ask_for_files(self) -> None:
        files.ask(self, self.tr("Add files"), self._folder, self._add)

    def _add_folder(self) -> None:
        files.ask(self, self.tr("Add a folder"), self._folder, self._add, QFileDialog.FileMode.Directory)

    def _add(self, paths: list[Path]) -> None:
        self._folder = str(paths[0] if paths[0].is_dir() else paths[0].parent)
        self.queue.add(paths)

    def _with_result(self, act: Callable[[Item, Path], None]) -> None:
        for item in self.chosen():
            if item.output is None or not item.output.exists():
                said = self.tr("The result of {} is no longer there.").format(brief(item.path.name))
                self.message.emit(said, "", None)
            else:
                act(item, item.output)

    def _open(self, item: Item, output: Path) -> None:
        if not QDesktopServices.openUrl(QUrl.fromLocalFile(str(output))):
            self.message.emit(self.tr("No program opened {}.").format(brief(output.name)), "", None)

    def _reveal(self, item: Item, output: Path) -> None:
        files.show(output, self)

    def _compare(self, item: Item, output: Path) -> None:
        self.go.emit("result", [item.path, output])

    def _ran_out(self, made: int, failed: int) -> None:
        text = self.tr("All is done: {} made.").format(made) if not failed else (
            self.tr("The queue is through: {} made, {} failed.").format(made, failed))
        self.message.emit(text, "", None)
        window = self.window()
        if not self.notify.isChecked() or window.isActiveWindow():
            return
        QApplication.alert(window)
        self._desktop.notify(text)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if _files(event.mimeData()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        event.setDropAction(Qt.DropAction.CopyAction)
        event.accept()
        self.queue.add(local_paths(event.mimeData()))


def _native(action: QAction) -> str:
    return action.shortcut().toString(QKeySequence.SequenceFormat.NativeText)


def _tell(action: QAction, text: str, tip: str) -> None:
    """What it does, in a word and in a sentence."""
    action.setText(text)
    action.setToolTip(f"{tip}  ({_native(action)})")


def _files(data: QMimeData) -> bool:
    return bool(local_paths(data))


def _line(parent: QWidget) -> QAction:
    line = QAction(parent)
    line.setSeparator(True)
    return line


def _scrolled(*widgets: QWidget) -> QScrollArea:
    inside = QWidget()
    column = QVBoxLayout(inside)
    column.setContentsMargins(0, _U, 4, _U)
    column.setSpacing(2 * _U)
    for widget in widgets:
        column.addWidget(widget)
    column.addStretch(1)
    area = QScrollArea(widgetResizable=True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setWidget(inside)
    inside.setAutoFillBackground(False)
    area.viewport().setAutoFillBackground(False)
    return area
