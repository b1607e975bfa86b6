"""How the window keeps up, measured in a process of its own.

python -m ui.measure FILE SECONDS BEGUN NAME=VALUE…, the last being settings of the page; or
python -m ui.measure --live SECONDS WIDTHxHEIGHT MODEL SCALE ENGINE PRECISION.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PySide6.QtCore import QEventLoop, QSettings, QTimer

import vsr
from ui.app import application
from ui.window import Window

_PATIENCE_MS = 120_000  # for the first frame
_BEAT_MS = 2
_GLANCE_MS = 20


@contextmanager
def opened(place: str, chosen: dict[str, str]) -> Iterator[Window]:
    """A window of Full HD with that page, painted; where there is no screen, in memory."""
    if not sys.platform.startswith(("win", "darwin")) and not os.environ.get("DISPLAY") and (
            not os.environ.get("WAYLAND_DISPLAY")):
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    app = application([])
    with tempfile.TemporaryDirectory() as folder:
        settings = QSettings(str(Path(folder) / "settings.ini"), QSettings.Format.IniFormat)
        for name, value in chosen.items():
            settings.setValue(f"{place}/{name}", value)
        window = Window(settings, (place,))
        window.resize(1920, 1080)
        window.show()
        app.processEvents()
        window.repaint()
        yield window
        window.close()


def measure(path: Path, seconds: float, begun: float, chosen: dict[str, str]) -> dict[str, float | None]:
    """Play ``path`` for so long in a window of Full HD, split in the middle. ``begun`` is the `time.time` of the start:
    what is told is when the window was painted, the longest time that it did nothing else than one thing, and the
    frames a second that were drawn."""
    with opened("compare", chosen) as window:
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
    stalls = [later - earlier for earlier, later in itertools.pairwise(beats)]
    return {"first_paint_s": painted, "longest_stall_ms": 1000 * max(stalls, default=0.0),
            "drawn_fps": len(drawn) / seconds, "draw_ms": statistics.median(drawn) if drawn else None}


def measure_live(seconds: float, size: tuple[int, int], choice: vsr.Choice) -> dict[str, Any]:
    """What the meter of the Live page says of the test pattern of that ``size``, at 30 frames a second, in a window of
    Full HD split in the middle, after so long. Latency is to the end of drawing."""
    with opened("live", {}) as window:
        page, loop, timer = window.pages["live"], QEventLoop(), QTimer(interval=_GLANCE_MS)
        page.watch("test", choice, vsr.Asked(size))

        def look() -> None:
            if page.bridge.live is not None and page.bridge.live.ready:
                loop.quit()

        timer.timeout.connect(look)
        timer.start()
        QTimer.singleShot(_PATIENCE_MS, loop.quit)
        loop.exec()
        timer.stop()
        QTimer.singleShot(round(1000 * seconds), loop.quit)
        loop.exec()
        live = page.bridge.live
        if live is None or not live.ready:
            raise SystemExit("the test picture does not come")
        return {"engine": live.opened[0], "precision": live.opened[1], **live.summary().to_json()}


if __name__ == "__main__" and sys.argv[1] == "--live":
    length, sides, model, scale, engine, precision = sys.argv[2:]
    width, height = map(int, sides.split("x"))
    print(json.dumps(measure_live(float(length), (width, height), vsr.Choice(model, int(scale), engine, precision))))
elif __name__ == "__main__":
    file, length, start, *pairs = sys.argv[1:]
    print(json.dumps(measure(Path(file), float(length), float(start), dict(pair.split("=", 1) for pair in pairs))))
