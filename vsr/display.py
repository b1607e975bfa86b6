"""How the command line shows its work: a bar, plain lines, JSON lines, or errors alone."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from vsr.errors import VsrError

if TYPE_CHECKING:
    from vsr.events import Event, LiveMeter, Started


GOOD_NEWS = {"mode", "back", "recorded", "saved", "virtual"}  # codes of a live picture's events that warn of nothing


def display(asked: str) -> Silent:
    """The display for ``--progress``: bar, json, none, or auto (a bar on a terminal, else plain lines)."""
    if asked == "auto":
        return Bar() if sys.stderr.isatty() else Plain()
    return {"bar": Bar, "json": JsonLines, "none": Silent}[asked]()


def say(line: str) -> None:
    """A line on stdout. A reader that went away, or a full disk behind stdout, does not stop the work."""
    try:
        print(printable(line), flush=True)
    except OSError:
        mute(sys.stdout)


def printable(line: str) -> str:
    """``line`` without what a terminal would obey, as a file's name may hold it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def mute(stream: TextIO) -> None:
    """Nobody reads ``stream``: what is still printed, also at exit, goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def tell_error(error: VsrError) -> None:
    tell(f"vsr: {' '.join(str(error).split())}")


def tell_warning(message: str) -> None:
    tell(f"vsr: warning: {message}")


class Silent:
    """Errors alone."""

    def event(self, event: Event) -> None:
        """Show one event of a job."""

    def failed(self, path: Path | str, error: VsrError) -> None:
        """Show the error that ended a job."""
        tell_error(error)

    def close(self) -> None:
        """The job is over, however it ended."""

    def summary(self) -> None:
        """All of several inputs are over."""


class JsonLines(Silent):
    """One JSON object a line on stdout."""

    def event(self, event: Event) -> None:
        say(json.dumps(event.to_json()))

    def failed(self, path: Path | str, error: VsrError) -> None:
        from vsr.events import Failed

        self.event(Failed(path, error))
        super().failed(path, error)


class Plain(Silent):
    """Warnings on stderr; on stdout a line when a job begins and ends, and a table after several."""

    def __init__(self) -> None:
        self.results: list[tuple[str, str]] = []  # an input or output, and what became of it

    def event(self, event: Event) -> None:
        from vsr.events import Done, LiveDone, LiveStarted, Started, Warned

        if isinstance(event, LiveStarted):
            engine = f"  {event.model} {event.engine} {event.precision}" if event.engine else ""
            say(f"{event.input} → {event.width}x{event.height}{engine}")
        elif isinstance(event, LiveDone):
            say(f"{event.input}  {event.meter.frames} frames, {event.seconds:.1f} s, {goes(event.meter)}")
            for path in event.outputs:
                say(str(path))
        elif isinstance(event, Started):
            say(f"{event.input.name} → {event.output.name}  {event.width}x{event.height}  {event.model} "
                f"{event.engine} {event.precision}{estimated(event)}")
        elif isinstance(event, Warned):
            if event.code not in GOOD_NEWS:
                tell_warning(event.message)
            elif event.code != "recorded":
                tell(event.message)
            if event.code == "skipped":
                self.results.append((str(event.input), "skipped: has its output already"))
        elif isinstance(event, Done):
            fps = event.frames / max(event.seconds, 1e-9)
            frames = f"{event.frames} frame{'s' * (event.frames != 1)}"
            result = f"{frames}, {event.seconds:.1f} s, {fps:.1f} fps, checked{shared(event.members)}"
            say(f"{event.output}  {result}")
            self.results.append((str(event.output), result))

    def failed(self, path: Path | str, error: VsrError) -> None:
        super().failed(path, error)
        self.results.append((str(path), f"failed: {error.code}"))

    def summary(self) -> None:
        width = max((len(name) for name, _ in self.results), default=0)
        for name, result in self.results:
            say(f"{name:{width}}  {result}")


class Bar(Plain):
    """A live bar on stderr with fps, ETA and where the time goes."""

    def __init__(self) -> None:
        super().__init__()
        self.bar: Any = None

    def event(self, event: Event) -> None:
        from tqdm import tqdm

        from vsr.events import LiveProgress, LiveStarted, Progress, Started

        if isinstance(event, LiveProgress):
            self.bar.set_description_str(goes(event.meter))
            return
        if isinstance(event, Progress):
            if self.bar.total is not None and event.frame > self.bar.total:
                self.bar.total = event.frame
            stages = "  ".join(f"{stage} {ms:.1f}" for stage, ms in event.stage_ms.items())
            reused = f", {event.reused:.0%} reused" if event.reused >= 0.005 else ""
            self.bar.set_postfix_str(f"{stages} ms, most: {event.bottleneck}{reused}", refresh=False)
            self.bar.update(event.frame - self.bar.n)
            return
        if self.bar is not None:
            self.bar.clear()
        super().event(event)
        if isinstance(event, LiveStarted):
            self.bar = tqdm(dynamic_ncols=True, leave=False, bar_format="{desc}")
        if isinstance(event, Started) and self.bar is None:
            self.bar = tqdm(total=event.frames, unit=" frames", dynamic_ncols=True, leave=False,
                            bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt} {rate_fmt} {remaining} left{postfix}")

    def failed(self, path: Path | str, error: VsrError) -> None:
        self.close()
        super().failed(path, error)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None


def tell(line: str) -> None:
    """A line on stderr, as ``say``."""
    try:
        print(printable(line), file=sys.stderr, flush=True)
    except OSError:
        mute(sys.stderr)


def goes(meter: LiveMeter) -> str:
    """A live picture's meter as a line."""
    stages = ", ".join(f"{stage} {ms:.1f}" for stage, ms in meter.stage_ms.items())
    latency = f"latency {meter.latency_ms['median']:.0f} ms, 95 % within {meter.latency_ms['p95']:.0f}"
    return (f"{meter.fps:.1f} of {meter.capture_fps:.1f} fps, {meter.dropped} dropped, {latency}; {stages} ms; "
            f"{meter.mode}")


def shared(members: dict[str, float] | None) -> str:
    """"; 60% fsrcnn-s, 40% fsrcnn-s-video-2" where frames had weights chosen for them."""
    named = [f"{share:.0%} {name}" for name, share in (members or {}).items() if share]
    return f"; {', '.join(named)}" if named else ""


def estimated(event: Started) -> str:
    """", about 3 min, 1.2 GB" where there is an estimate."""
    if event.estimate is None:
        return ""
    seconds, size = event.estimate.seconds, float(event.estimate.bytes)
    if seconds < 90:
        length = f"{seconds:.0f} s"
    elif seconds < 5400:
        length = f"{seconds / 60:.0f} min"
    else:
        length = f"{seconds / 3600:.1f} h"
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f", about {length}, {size:.3g} {unit}"
