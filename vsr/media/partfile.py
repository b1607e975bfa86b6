"""A file that appears under its name only when it is complete."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from types import TracebackType

from vsr.errors import OutputError

_STEM = 40  # characters of the target's name in the temporary one: long names must not become too long


class PartFile:
    """A temporary file beside ``target`` with its extension: write to ``path``, then ``commit()`` or ``keep_as()``.

    Leaving the ``with`` block without either removes it. Raises ``OutputError`` at once where ``target`` exists and
    ``overwrite`` is false (which is ensured again, without a race, on commit), on entering where the folder cannot be
    written to.
    """

    def __init__(self, target: Path, overwrite: bool) -> None:
        self.target = target
        self.overwrite = overwrite
        self.path = target.with_name(f".{target.stem[:_STEM]}.{os.getpid()}.part{target.suffix}")
        if target.is_dir():
            raise OutputError(f"{target} is a folder; name a file")
        if not overwrite and os.path.lexists(target):
            raise self._exists()

    def __enter__(self) -> PartFile:
        try:
            self.path.touch(exist_ok=False)
        except FileExistsError:
            raise OutputError(f"{self.target} is being written by another job") from None
        except OSError as error:
            raise OutputError(f"{self.target.parent} cannot be written to: {error.strerror}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(FileNotFoundError):
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
        except OSError as error:
            if reserved:
                self.target.unlink()
            raise OutputError(f"{self.target} cannot be written: {error.strerror}") from error

    def keep_as(self, path: Path) -> None:
        """Give the file another name, over whatever has it."""
        os.replace(self.path, path)

    def _exists(self) -> OutputError:
        return OutputError(f"{self.target} exists already; pass --overwrite to replace it")
