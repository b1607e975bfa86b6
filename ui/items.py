"""What the queue is about: files to be made, how each is to be made, and what is known of it."""

from __future__ import annotations

import contextlib
import math
import re
import time
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any

from PySide6.QtGui import QImage

import vsr
from ui.models import DEFAULT

UNRATED = ("ffv1", "prores")  # codecs without a quality of their own to choose
_LINES = 200  # of an item's log
_BRIEF = 48  # characters of a name that can be read in a sentence


class State(Enum):
    WAITING = "waiting"
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"
    CANCELLED = "cancelled"
    CUT_OFF = "cut off"


TO_DO = {State.WAITING, State.CUT_OFF}
ENDED = {State.DONE, State.SKIPPED, State.FAILED, State.CANCELLED}


@dataclass(frozen=True, slots=True)
class Settings:
    """How an item is made. ``size`` as in `asked`; ``codec`` "" is what suits the source; ``folder`` is where outputs
    go, from the source's on; ``existing`` is what becomes of a file that has the output's name: "number", "skip" or
    "replace"."""

    size: str = "x2"
    model: str = DEFAULT
    codec: str = ""
    crf: float = vsr.DEFAULT_CRF
    preset: str = vsr.DEFAULT_PRESET
    folder: str = ""
    name: str = "{name}_{tag}"
    existing: str = "number"

    def asked(self) -> int | vsr.Size:
        """The factor or size that ``size`` means: x2, 1080p, 1920x1080, or a number of rows. Raises UsageError."""
        text = self.size.strip().lower().replace("×", "x")
        if match := re.fullmatch(r"x?([234])x?", text):
            return int(match[1])
        if re.fullmatch(r"\d+", text):
            return vsr.Size.parse_height(text)
        if re.fullmatch(r"\d+\s*x\s*\d+", text):
            return vsr.Size.parse_size(re.sub(r"\s", "", text))
        try:
            return vsr.Size.parse_fit(text)
        except vsr.UsageError:
            raise vsr.UsageError(f"'{self.size}' is no size; write x2, 1080p, 1920x1080, or rows as in 1080") from None

    def job(self, path: Path, still: bool = False) -> vsr.Job:
        """For ``path``; of a ``still`` picture nothing is asked that only videos have. Raises UsageError."""
        asked = self.asked()
        codec = None if still else self.codec or None
        rated = not still and codec not in UNRATED
        return vsr.Job(
            path, output=path.parent / Path(self.folder).expanduser(), model=self.model, codec=codec, name=self.name,
            scale=asked if isinstance(asked, int) else 2, size=None if isinstance(asked, int) else asked,
            crf=self.crf if rated else None, preset=self.preset if rated else None,
            overwrite=self.existing == "replace", skip_existing=self.existing == "skip",
            keep_both=self.existing == "number",
        )

    def wrong(self) -> str:
        """What is wrong with them, whatever the source; "" where nothing is."""
        try:
            vsr.check_job(replace(self, folder="").job(Path("video.mkv")))
        except vsr.VsrError as error:
            return str(error).removeprefix("--")
        return ""

    @classmethod
    def of(cls, known: Any) -> Settings:
        """From JSON; what is missing or of another kind is as always."""
        kinds: dict[str, Any] = {name: int | float if name == "crf" else str for name in cls.__slots__}
        told = known if isinstance(known, dict) else {}
        return cls(**{name: told[name] for name, kind in kinds.items() if isinstance(told.get(name), kind)})


@dataclass(slots=True, eq=False)
class Item:
    """One file to be made, and all that is known of it. """

    path: Path
    settings: Settings
    state: State = State.WAITING
    why: str = ""  # of a state that is not as wished, in plain words
    log: list[str] = field(default_factory=list)
    checks: list[dict[str, Any]] = field(default_factory=list)
    output: Path | None = None
    size: tuple[int, int] | None = None  # of the output, once it is known
    codec: str = ""
    frame: int = 0
    frames: int | None = None
    fps: float = 0.0
    eta_s: float | None = None
    seconds: float = 0.0
    stopping: bool = False  # it is asked to end, and has not yet
    leaving: bool = False  # and is removed then
    look: vsr.Look | None = None
    before: QImage | None = None
    after: QImage | None = None
    problem: str = ""  # what a look at the source says

    @property
    def name(self) -> str:
        return shown(self.path.name)

    @property
    def source(self) -> tuple[int, int] | None:
        """Its width and height as it is seen, None while they are not known."""
        return None if self.look is None else self._seen(self.look.shape.width, self.look.shape.height)

    @property
    def becomes(self) -> tuple[int, int] | None:
        """The output's width and height as it is seen, None while they are not known."""
        if self.size is not None:
            return self._seen(*self.size)
        with contextlib.suppress(vsr.VsrError):
            if made := self._resolution():
                return self._seen(made.width, made.height)
        return None

    @property
    def trouble(self) -> str:
        """Why it cannot be made, as far as a look at the source tells; "" where nothing speaks against it."""
        try:
            self._resolution()
        except vsr.VsrError as error:
            return reason(error)
        return self.problem

    def _resolution(self) -> vsr.Resolution | None:
        return None if self.look is None else vsr.resolve(self.look.shape, self.settings.asked(), self.path)

    def _seen(self, width: int, height: int) -> tuple[int, int]:
        turned = self.look is not None and self.look.shape.rotation_degrees % 180 == 90
        return (height, width) if turned else (width, height)

    @property
    def share(self) -> float | None:
        """How much is done, 0 to 1; None where that is not known."""
        if self.state in (State.DONE, State.SKIPPED):
            return 1.0
        if self.state in TO_DO:
            return 0.0
        return min(1.0, self.frame / self.frames) if self.frames else None

    @property
    def effort(self) -> float | None:
        """Pixels to be made, by which the time that it takes is guessed."""
        frames = self.frames or (self.look and (self.look.frames or (1 if self.look.at is None else None)))
        return math.prod(self.becomes) * frames if frames and self.becomes else None

    def note(self, text: str) -> None:
        self.log = [*self.log, f"{time.strftime('%H:%M:%S')}  {shown(text)}"][-_LINES:]

    def begin_again(self) -> None:
        """Forget what came of it."""
        self.state, self.why, self.checks, self.output, self.size = State.WAITING, "", [], None, None
        self.codec, self.frame, self.fps, self.eta_s, self.seconds, self.after = "", 0, 0.0, None, 0.0, None
        self.frames, self.stopping = None, False


def shown(name: str) -> str:
    """``name`` as text that can be shown, whatever bytes it has."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def brief(name: str) -> str:
    """``name`` as it can be shown in a sentence, however long it is."""
    name = shown(name)
    return name if len(name) <= _BRIEF else f"{name[: _BRIEF // 2]}…{name[-(_BRIEF // 2 - 1) :]}"


def plain(why: str) -> str:
    """An error's text without what it says of a command line."""
    why = re.sub(r"(;|, or) (give another|write elsewhere) with -o\b", "", why)
    return re.sub(r"(?<!\S)--(?=\w)", "", why)


def reason(error: Exception) -> str:
    return shown(error.strerror if type(error) is OSError and error.strerror else str(error))


def duration(seconds: float) -> str:
    """In words as short as they can be: 42 s, 3:05 min, 1:02:03 h."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02} min"
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02} h"
