"""Folders: which of their files count as inputs, those that outputs go to, and what outputs may be called."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from vsr.errors import OutputError, UsageError

SUFFIXES = {  # what counts in a folder; a file that is named is always tried
    ".3gp", ".avi", ".avif", ".bmp", ".flv", ".gif", ".jpeg", ".jpg", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg",
    ".mpg", ".mts", ".mxf", ".ogv", ".png", ".tif", ".tiff", ".ts", ".vob", ".webm", ".webp", ".wmv", ".y4m",
}
NAMES = {  # what may stand in braces in an output's name
    "name": "the input's name", "tag": "x2, or 1920x1080 where a size was asked for", "scale": "the factor: 2, 3 or 4",
    "width": "pixels across", "height": "pixels down", "model": "the model's name",
}
_OUTPUT = re.compile(r"(.+)_(?:x[234]|\d+x\d+)(?: \(\d+\))?")  # NAME_x2, NAME_1920x1080, NAME_x2 (2)


def media_in(folder: Path) -> list[Path]:
    """The videos and pictures of a folder, without those that look like another one's output. Raises ``OSError``."""
    files = sorted(path for path in folder.iterdir() if _is_media(path))
    stems = {path.stem for path in files}
    return [path for path in files if not ((made := _OUTPUT.fullmatch(path.stem)) and made[1] in stems)]


def _is_media(path: Path) -> bool:
    """Whether a file counts: by its suffix; what is hidden or failed its self-check does not."""
    hidden = path.name.startswith(".") or path.stem.endswith(".failed-check")
    return not hidden and path.suffix.lower() in SUFFIXES and path.is_file()


@contextlib.contextmanager
def made_folder(folder: Path) -> Iterator[None]:
    """The ``folder`` that outputs go to, made where it is missing, and removed again where nothing came into it."""
    missing = [place for place in (folder, *folder.parents) if not os.path.lexists(place)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error.strerror}") from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            for place in missing:
                place.rmdir()


def check_name(pattern: str) -> None:
    """Raises ``UsageError`` for what no output can be called (see `vsr.job.Job`)."""
    rest = re.sub(r"\{(\w+)\}", lambda match: "" if match[1] in NAMES else match[0], pattern)
    if wrong := re.search(r"\{\w*\}?|\}", rest):
        known = ", ".join(f"{{{name}}}" for name in NAMES)
        raise UsageError(f"'{wrong[0]}' in the name {pattern} is unknown; use {known}")
    if wrong := re.search(r'[/\\:*?"<>|\x00-\x1f]', rest):  # what Windows refuses; the others refuse the first one
        raise UsageError(f"{wrong[0]!r} cannot be in a file's name; leave it out of {pattern!r}")
    if not pattern.strip(" ."):
        raise UsageError("an output has no name; write one, as in {name}_{tag}")
