"""How the command line shows its work: a bar, plain lines, JSON lines, or errors alone."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vsr.errors import VsrError

if TYPE_CHECKING:
    from vsr.pipeline import Event


def display(asked: str) -> Silent:
    """The display for ``--progress``: bar, json, none, or auto (a bar on a terminal, else plain lines)."""
    if asked == "auto":
        return Bar() if sys.stderr.isatty() else Plain()
    return {"bar": Bar, "json": JsonLines, "none": Silent}[asked]()


def say(line: str) -> None:
    """A line on stdout. A reader that went away, or a full disk behind stdout, does not stop the work."""
    try:
        print(line, flush=True)
    except OSError:
        mute()


def mute() -> None:
    """Nobody reads stdout: what is still printed, also at exit, goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def tell_error(error: VsrError) -> None:
    print(f"vsr: {' '.join(str(error).split())}", file=sys.stderr)


class Silent:
    """Errors alone."""

    def event(self, event: Event) -> None:
        """Show one event of a job."""

    def failed(self, path: Path, error: VsrError) -> None:
        """Show the error that ended a job."""
        tell_error(error)

    def close(self) -> None:
        """The job is over, however it ended."""


class JsonLines(Silent):
    """One JSON object a line on stdout."""

    def event(self, event: Event) -> None:
        say(json.dumps(event.to_json()))

    def failed(self, path: Path, error: VsrError) -> None:
        from vsr.pipeline import Failed

        self.event(Failed(path, error))
        super().failed(path, error)


class Plain(Silent):
    """Warnings on stderr; a line for a finished job on stdout."""

    def event(self, event: Event) -> None:
        from vsr.pipeline import Done, Warned

        if isinstance(event, Warned):
            print(f"vsr: warning: {event.message}", file=sys.stderr)
        elif isinstance(event, Done):
            fps = event.frames / max(event.seconds, 1e-9)
            say(f"{event.output}  {event.frames} frames, {event.seconds:.1f} s, {fps:.1f} fps, checked")


class Bar(Plain):
    """A live bar on stderr with fps, ETA and where the time goes."""

    def __init__(self) -> None:
        self.bar: Any = None

    def event(self, event: Event) -> None:
        from tqdm import tqdm

        from vsr.pipeline import Progress, Started

        if isinstance(event, Started):
            print(f"{event.input.name} → {event.output.name}  {event.width}x{event.height}  {event.model} "
                  f"{event.engine} {event.precision}", file=sys.stderr)
            self.bar = tqdm(total=event.frames, unit=" frames", dynamic_ncols=True, leave=False,
                            bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt} {rate_fmt} {remaining} left{postfix}")
        elif isinstance(event, Progress):
            if self.bar.total is not None and event.frame > self.bar.total:
                self.bar.total = event.frame
            stages = "  ".join(f"{stage} {ms:.1f}" for stage, ms in event.stage_ms.items())
            self.bar.set_postfix_str(f"{stages} ms, most: {event.bottleneck}", refresh=False)
            self.bar.update(event.frame - self.bar.n)
        else:
            if self.bar is not None:
                self.bar.clear()
            super().event(event)

    def failed(self, path: Path, error: VsrError) -> None:
        self.close()
        super().failed(path, error)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None
