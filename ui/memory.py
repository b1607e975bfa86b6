"""What of a queue is remembered from one start to the next, in a file."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from PySide6.QtCore import QLockFile, QSaveFile

from ui.items import Item, Settings, State

_VERSION = 1  # of the file
_KEPT = {
    "why": str, "log": list, "checks": list, "size": list | None, "codec": str, "frame": int, "frames": int | None,
    "fps": int | float, "seconds": int | float,
}


class Known(NamedTuple):
    """What was remembered. ``aside`` is where a file that is damaged, or was in part, is kept."""

    defaults: Settings
    items: list[Item]
    aside: Path | None = None


class Memory:
    """``folder``'s, which one window at a time has: the first that asks, until it is closed."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, folder / "queue.json"
        self._lock: QLockFile | None = None

    def open(self) -> bool:
        """Whether it is had. Nothing else is to be called where it is not; `write` and `close` do nothing then."""
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
        lock = QLockFile(str(self._folder / "queue.lock"))
        lock.setStaleLockTime(0)  # only if who has it is no more
        if not lock.tryLock(0):
            return False
        self._lock = lock
        return True

    def read(self) -> Known:
        defaults, items, broken = Settings(), [], 0
        try:
            known = json.loads(self._path.read_bytes())
            if known["v"] != _VERSION:
                raise ValueError("another version")
            defaults = Settings.of(known["defaults"])
            for told in known["items"]:
                try:
                    items.append(_item(told))
                except (KeyError, TypeError, ValueError):
                    broken += 1
        except FileNotFoundError:
            return Known(defaults, items)
        except (OSError, ValueError, KeyError, TypeError):
            broken += 1
        if not broken:
            return Known(defaults, items)
        aside = self._path.with_name(f"queue.damaged-{time.strftime('%Y%m%d-%H%M%S')}.json")
        with contextlib.suppress(OSError):
            os.replace(self._path, aside)
        return Known(defaults, items, aside)

    def write(self, defaults: Settings, items: Iterable[Item], running: Item | None) -> str:
        """Write all down, so that the file is whole at any time. Why that failed; "" where it did not."""
        if self._lock is None:
            return ""
        told = [{
            "path": str(item.path), "settings": asdict(item.settings),
            "state": (State.RUNNING if item is running else item.state).value,
            "output": item.output and str(item.output), **{name: getattr(item, name) for name in _KEPT},
        } for item in items]
        content = json.dumps({"v": _VERSION, "defaults": asdict(defaults), "items": told}, default=str)
        file = QSaveFile(str(self._path))
        if not file.open(QSaveFile.OpenModeFlag.WriteOnly) or file.write(content.encode()) < 0 or not file.commit():
            return file.errorString()
        return ""

    def close(self) -> None:
        if self._lock is not None:
            self._lock.unlock()
            self._lock = None


def _item(told: dict[str, Any]) -> Item:
    item = Item(Path(told["path"]), Settings.of(told["settings"]), State(told["state"]))
    output = told["output"]
    item.output = None if output is None else Path(output)
    for name, kind in _KEPT.items():
        if not isinstance(told[name], kind):
            raise TypeError(name)
        setattr(item, name, told[name])
    if item.size is not None:
        width, height = map(int, item.size)
        item.size = width, height
    return item
