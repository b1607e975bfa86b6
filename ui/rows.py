"""The queue as a list: what a row says of a file, and how it is painted."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRect, QSize, Qt
from PySide6.QtGui import QDropEvent, QFont, QFontMetrics, QImage, QKeyEvent, QPainter
from PySide6.QtWidgets import QAbstractItemView, QListView, QStyle, QStyledItemDelegate, QStyleOptionViewItem

from ui import theme
from ui.form import CODECS
from ui.items import ENDED, UNRATED, Item, State, duration, plain, shown
from ui.models import field_name
from ui.work import Queue, local_paths

PICTURES = {"png": "PNG", "jpeg": "JPEG", "webp": "WebP"}
_U = theme.UNIT
_THUMBNAIL = QSize(14 * _U, 8 * _U)
_STATE_WIDTH = 17 * _U  # of the column on the right
_COMMANDS = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier | Qt.KeyboardModifier.MetaModifier


def size_name(size: tuple[int, int] | None) -> str:
    return "?" if size is None else f"{size[0]} × {size[1]}"


def made_by(item: Item) -> str:
    """What an item becomes, and by what."""
    codec = item.codec or item.settings.codec or (item.look.codec if item.look else "")
    quality = "" if codec in (*UNRATED, *PICTURES, "") else f" CRF {item.settings.crf:g}"
    sizes = item.settings.size.replace("x", "×")
    if item.becomes:
        sizes = f"{size_name(item.source)} → {size_name(item.becomes)}"
    encoder = (CODECS | PICTURES).get(codec, codec) + quality
    return "  ·  ".join(filter(None, [sizes, field_name(item.settings.model), encoder]))


def reason(item: Item) -> str:
    """Why its state is not as wished, or will not be, in one line."""
    why = item.why or ("" if item.state in ENDED else item.trouble)
    return " ".join(plain(why.replace(shown(str(item.path)), item.name)).split())


class _Row(QStyledItemDelegate):
    """Paints a row: thumbnail, name, what it becomes, how far it is, and its state."""

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> QSize:
        return QSize(40 * _U, max(_THUMBNAIL.height(), 3 * QFontMetrics(option.font).lineSpacing()) + 2 * _U)

    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        queue, item = index.model(), index.data(Qt.ItemDataRole.UserRole)
        assert isinstance(queue, Queue)
        chosen = bool(option.state & QStyle.StateFlag.State_Selected)
        painter.save()
        if chosen or option.state & QStyle.StateFlag.State_MouseOver:
            painter.fillRect(option.rect, theme.color("hover"))
        if chosen:
            painter.fillRect(QRect(option.rect.topLeft(), QSize(3, option.rect.height())), theme.color("accent"))
        if option.state & QStyle.StateFlag.State_HasFocus:
            painter.setPen(theme.color("accent"))
            painter.drawRect(option.rect.adjusted(0, 0, -1, -1))
        inside = option.rect.adjusted(_U + 4, _U, -2 * _U, -_U)
        paint_picture(painter, QRect(inside.topLeft(), QSize(_THUMBNAIL.width(), inside.height())), item.before)
        inside.setLeft(inside.left() + _THUMBNAIL.width() + 2 * _U)
        digits = QFont(option.font)
        digits.setFeature(QFont.Tag("tnum"), 1)
        painter.setFont(digits)
        metrics = QFontMetrics(digits)
        step = inside.height() // 3
        texts = state, speed, left = self._texts(queue, item)
        right = QRect(inside)
        room = _STATE_WIDTH if right.width() > 4 * _STATE_WIDTH else max(map(metrics.horizontalAdvance, texts)) + _U
        right.setLeft(max(inside.center().x(), inside.right() - room))
        whole = QRect(inside)
        inside.setRight(right.left() - 2 * _U)

        def write(text: str, line: int, color: str, cut: Qt.TextElideMode, beside: bool = False) -> None:
            place = QRect(right if beside else inside if texts[line] else whole)
            place.setTop(inside.top() + line * step)
            place.setHeight(step)
            side = Qt.AlignmentFlag.AlignRight if beside else Qt.AlignmentFlag.AlignLeft
            painter.setPen(theme.color(color))
            painter.drawText(place, side | Qt.AlignmentFlag.AlignVCenter, metrics.elidedText(text, cut, place.width()))

        middle, end = Qt.TextElideMode.ElideMiddle, Qt.TextElideMode.ElideRight
        write(item.name, 0, "quiet" if item.state is State.CANCELLED else "text", middle)
        write(made_by(item), 1, "quiet", end)
        bad = item.state in (State.FAILED, State.CUT_OFF)
        write(state, 0, "warning" if bad else "text", end, True)
        write(speed, 1, "quiet", end, True)
        write(left, 2, "quiet", end, True)
        if queue.is_running(item):
            bar = QRect(inside.left(), inside.top() + 2 * step + (step - 4) // 2, inside.width(), 4)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            track = theme.color("quiet")
            track.setAlphaF(0.25)
            painter.setBrush(track)
            painter.drawRoundedRect(bar, 2, 2)
            bar.setWidth(round(bar.width() * (item.share or 0)))
            painter.setBrush(theme.color("quiet" if item.state is State.PAUSED else "accent"))
            painter.drawRoundedRect(bar, 2, 2)
        elif why := reason(item):
            write(why, 2, "warning" if bad or not item.why else "quiet", end)
        elif item.output is not None:
            write(shown(item.output.name), 2, "quiet", middle)
        painter.restore()

    def _texts(self, queue: Queue, item: Item) -> tuple[str, str, str]:
        """Three short ones: the state, the speed, the time."""
        state, speed = queue.state_name(item), self.tr("{:.1f} fps").format(item.fps)
        if queue.is_running(item):
            if item.share is not None and item.frame:
                state += f"  {item.share:.0%}"
            left = "" if item.eta_s is None else self.tr("{} left").format(duration(item.eta_s))
            return state, speed if item.frame else self.tr("Preparing"), left
        if item.state is State.DONE:
            still = item.look is not None and item.look.at is None
            return state, "" if still else speed, duration(item.seconds)
        return state, "", ""


def paint_picture(painter: QPainter, place: QRect, picture: QImage | None) -> None:
    """As large as it fits, on what surrounds pictures everywhere."""
    painter.fillRect(place, theme.CANVAS)
    if picture is not None:
        size = picture.size().scaled(place.size(), Qt.AspectRatioMode.KeepAspectRatio)
        fit = QRect(place.topLeft(), size)
        fit.moveCenter(place.center())
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.drawImage(fit, picture)


class Rows(QListView):
    """The list; files that are dropped come between its rows."""

    def __init__(self, queue: Queue) -> None:
        super().__init__()
        self.setModel(queue)
        self.setItemDelegate(_Row(self))
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setDragDropMode(QAbstractItemView.DragDropMode.DragDrop)
        self.setDefaultDropAction(Qt.DropAction.MoveAction)
        self.setUniformItemSizes(True)
        self.setMouseTracking(True)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setObjectName("rows")
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)
        theme.name(self, self.tr("Queue"), self.tr("What is made, in this order; drag rows to change it"))

    def dropEvent(self, event: QDropEvent) -> None:
        """Rows move; files of others are copied, or they would be deleted where they came from."""
        if event.source() is self:
            super().dropEvent(event)
            return
        place = event.position().toPoint()
        index, queue = self.indexAt(place), self.model()
        assert isinstance(queue, Queue)
        row = index.row() + (place.y() > self.visualRect(index).center().y()) if index.isValid() else None
        queue.add(local_paths(event.mimeData()), row)
        event.setDropAction(Qt.DropAction.CopyAction)
        event.accept()
        self.setState(QAbstractItemView.State.NoState)
        self.viewport().update()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Letters and digits are the window's keys."""
        if event.text().strip() and not event.modifiers() & _COMMANDS:
            event.ignore()
        else:
            super().keyPressEvent(event)
