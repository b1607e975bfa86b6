"""How the window keeps up, measured in a process of its own.

python -m ui.measure FILE SECONDS BEGUN NAME=VALUE…, the last being settings of the page.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from PySide6.QtCore import QEventLoop, QSettings, QTimer

from ui.app import application
from ui.window import Window

_PATIENCE_MS = 120_000  # for the first frame
_BEAT_MS = 2


def measure(path: Path, seconds: float, begun: float, chosen: dict[str, str]) -> dict[str, float | None]:
    """Play ``path`` for so long in a window of Full HD, split in the middle. ``begun`` is the `time.time` of the start:
    what is told is when the window was painted, the longest time that it did nothing else than one thing, and the
    frames a second that were drawn."""
    if not sys.platform.startswith(("win", "darwin")) and not os.environ.get("DISPLAY") and (
            not os.environ.get("WAYLAND_DISPLAY")):
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    app = application([])
    with tempfile.TemporaryDirectory() as folder:
        settings = QSettings(str(Path(folder) / "settings.ini"), QSettings.Format.IniFormat)
        for name, value in chosen.items():
            settings.setValue(f"compare/{name}", value)
        window = Window(settings, ("compare",))
        window.resize(1920, 1080)
        window.show()
        app.processEvents()
        window.repaint()
        painted = time.time() - begun
        page = window.pages["compare"]
        drawn: list[float] = []
        loop = QEventLoop()
        page.canvas.drawn.connect(drawn.append)
        page.canvas.drawn.connect(loop.quit)
        window.open([path])
        QTimer.singleShot(_PATIENCE_MS, loop.quit)
        loop.exec()
        page.canvas.drawn.disconnect(loop.quit)
        page.set_looping(True)
        beats = [time.perf_counter()]
        timer = QTimer(interval=_BEAT_MS)
        timer.timeout.connect(lambda: beats.append(time.perf_counter()))
        timer.start()
        drawn.clear()
        QTimer.singleShot(round(1000 * seconds), loop.quit)
        loop.exec()
        timer.stop()
        window.close()
    stalls = [later - earlier for earlier, later in itertools.pairwise(beats)]
    return {"first_paint_s": painted, "longest_stall_ms": 1000 * max(stalls, default=0.0),
            "drawn_fps": len(drawn) / seconds, "draw_ms": statistics.median(drawn) if drawn else None}


if __name__ == "__main__":
    file, length, start, *pairs = sys.argv[1:]
    print(json.dumps(measure(Path(file), float(length), float(start), dict(pair.split("=", 1) for pair in pairs))))
