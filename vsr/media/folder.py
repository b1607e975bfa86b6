"""Folders: which of their files count as inputs, and those that outputs go to."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from vsr.errors import OutputError

SUFFIXES = {  # what counts in a folder; a file that is named is always tried
    ".3gp", ".avi", ".avif", ".bmp", ".flv", ".gif", ".jpeg", ".jpg", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg",
    ".mpg", ".mts", ".mxf", ".ogv", ".png", ".tif", ".tiff", ".ts", ".vob", ".webm", ".webp", ".wmv", ".y4m",
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
