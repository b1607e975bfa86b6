"""A file that appears under its name only when it is complete."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from types import TracebackType

from vsr.errors import OutputError

_TOKEN = 4  # bytes that tell temporary files apart
_STEM = 40  # characters of the target's name in the temporary one: long names must not become too long


def _part_name(target: Path, token: str) -> str:
    return f".{target.stem[:_STEM]}.{token}.part{target.suffix}"


def leftovers(target: Path) -> list[Path]:
    """The temporary files of ``target`` that are there: what is being written, and what a crash left behind."""
    before, behind = _part_name(target, "/").split("/")
    try:
        return [path for path in target.parent.iterdir() if path.name.startswith(before) and path.name.endswith(behind)
                and len(path.name) == len(before) + 2 * _TOKEN + len(behind)]
    except OSError:
        return []


class PartFile:
    """A temporary file beside ``target`` with its extension: write to ``path``, then ``commit()`` or ``keep_as()``.

    Leaving the ``with`` block without either removes it. Raises ``OutputError`` at once where ``target`` cannot be a
    name, or exists and ``overwrite`` is false (which is ensured again, without a race, on commit), on entering where
    the folder cannot be written to.
    """

    def __init__(self, target: Path, overwrite: bool) -> None:
        self.target = target
        self.overwrite = overwrite
        self.path = target.with_name(_part_name(target, secrets.token_hex(_TOKEN)))
        self._ours = False
        if os.path.isdir(target):
            raise OutputError(f"{target} is a folder; name a file")
        try:
            exists = bool(os.lstat(target))
        except (FileNotFoundError, NotADirectoryError):
            exists = False
        except OSError as error:  # too long a name
            raise OutputError(f"{target} cannot be written: {error.strerror}; give another with -o") from error
        if exists and not overwrite:
            raise self._exists()

    def __enter__(self) -> PartFile:
        self.create()
        return self

    def create(self) -> None:
        """Make the temporary file; for who has arranged for ``__exit__`` before, so that no interrupt comes between."""
        self._ours = True
        try:
            self.path.touch(exist_ok=False)
        except OSError as error:
            self._ours = False
            raise OutputError(f"{self.target.parent} cannot be written to: {error.strerror}") from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._remove()
        except KeyboardInterrupt:  # an impatient Ctrl-C while a cancelled job tidies up
            self._remove()
            raise

    def _remove(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            if self._ours:
                self.path.unlink()

    def commit(self) -> None:
        """Give the file its name."""
        reserved = False
        try:
            if not self.overwrite:
                # Reserving the name first makes the check and the renaming one step, on every file system.
                self.target.touch(exist_ok=False)
                reserved = True
            os.replace(self.path, self.target)
        except FileExistsError:
            raise self._exists() from None
        except BaseException as error:
            if reserved:
                self.target.unlink(missing_ok=True)
            if not isinstance(error, OSError):
                raise
            raise OutputError(f"{self.target} cannot be written: {error.strerror}") from error

    def keep_as(self, path: Path) -> None:
        """Give the file another name, over whatever has it."""
        try:
            os.replace(self.path, path)
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror}") from error

    def _exists(self) -> OutputError:
        return OutputError(f"{self.target} exists already; pass --overwrite to replace it")
