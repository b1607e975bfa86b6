"""The models as they are offered: which, and by what names."""

from __future__ import annotations

import re

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox

import vsr

DEFAULT = vsr.DEFAULT_MODEL


def field_name(model: str) -> str:
    """A model's name as its papers write it."""
    named = re.sub(r"f?srcnn\b", lambda match: match[0].upper(), model).replace("-video", " video")
    return named[:1].upper() + named[1:]


def offer(box: QComboBox) -> dict[str, vsr.Entry]:
    """Put all models into ``box``, of families only the whole, and keep what is chosen in it. Their entries."""
    entries = vsr.catalogue()
    members = {member for entry in entries.values() for member in entry.members[1:]}  # the first stands for itself
    offered = {name: entry for name, entry in entries.items() if name not in members}
    chosen = box.currentData()
    box.clear()
    for name, entry in offered.items():
        box.addItem(field_name(name), name)
        box.setItemData(box.count() - 1, entry.summary, Qt.ItemDataRole.ToolTipRole)
    box.setCurrentIndex(max(0, box.findData(chosen if chosen is not None else DEFAULT)))
    return offered
