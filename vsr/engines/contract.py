"""What every engine promises, and the checks and numbers that all of them share."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np

from vsr.errors import UsageError
from vsr.models.catalogue import SCALES

if TYPE_CHECKING:
    from vsr.engines.resample import Resize
    from vsr.models.catalogue import Weights


def processors() -> int:
    """How many processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Engine(ABC):
    """Enlarges planes of one kind: a model, a scale and a bit depth, fixed when it is opened.

    ``name`` is the implementation ('cuda', 'cpu' or 'reference'), ``model`` the model's name, ``precision`` the
    arithmetic's. ``threads`` bounds how many it uses; ``reused`` is the share of the last plane that was not computed,
    as nothing had changed there; ``warnings`` collects (code, message) pairs of what its user should know. An engine
    may be handed from thread to thread, but not called by two at once. It is a context manager. Raises UsageError for a
    scale, bit depth or number of threads that cannot be.
    """

    ahead = 0  # frames that are worth beginning before the first of them is asked for

    def __init__(self, name: str, model: str, scale: int, bits: int, precision: str = "fp32",
                 threads: int | None = None) -> None:
        if scale not in SCALES:
            raise UsageError(f"scale must be one of {', '.join(map(str, SCALES))}, not {scale}")
        if bits not in range(8, 17):
            raise UsageError(f"bits must be 8 to 16, not {bits}")
        if threads is not None and threads < 1:
            raise UsageError(f"threads must be at least 1, not {threads}")
        self.name, self.model, self.scale, self.bits, self.precision = name, model, scale, bits, precision
        self.threads = threads
        self.reused = 0.0
        self.warnings: deque[tuple[str, str]] = deque()

    def upscale(self, luma: np.ndarray) -> np.ndarray:
        """The plane enlarged: (H, W) to a new array (n·H, n·W) of the same dtype, rounded and clipped to the codes.

        ``luma`` is uint8 where ``bits`` is 8, else uint16 with the code in the low bits; at least 1x1, any row stride.
        Raises ValueError for any other array, EngineError where the engine fails.
        """
        check_plane("luma", luma, self.bits)
        height, width = luma.shape
        out = np.empty((height * self.scale, width * self.scale), luma.dtype)
        self._run(luma, out)
        return out

    def upscale_into(self, luma: np.ndarray, out: np.ndarray) -> None:
        """As `upscale`, into ``out``: a writable array (n·H, n·W) of luma's dtype with any row stride.

        ``luma`` and ``out`` must not share memory.
        """
        check_plane("luma", luma, self.bits)
        check_plane("out", out, self.bits)
        height, width = luma.shape
        expected = height * self.scale, width * self.scale
        if out.shape != expected:
            raise ValueError(f"out must be {expected} for luma of {luma.shape} at scale {self.scale}, not {out.shape}")
        if not out.flags.writeable:
            raise ValueError("out is read-only")
        self._run(luma, out)

    def begin(self, luma: np.ndarray, size: tuple[int, int],
              others: Sequence[tuple[np.ndarray, Resize]] = ()) -> Callable[[], list[np.ndarray]]:
        """A frame's planes in two steps: what is returned waits for the new planes, luma's first.

        Luma is enlarged, then resampled where ``size`` = (height, width) is not n times its own; the ``others`` are
        resampled. An engine that works beside the processor returns at once, and has taken what it needs of the
        arrays; with ``ahead`` frames begun before the first is waited for, it never stands still. Any order and number
        of frames gives the same bytes. Raises, in either step, as `upscale`.
        """
        from vsr.engines import ON_PROCESSORS
        from vsr.engines.resample import Resize, resizer

        enlarged = self.upscale(luma)
        planes = [] if enlarged.shape == size else [(enlarged, Resize.centred(enlarged.shape, size))]
        kind = self.name if self.name in ON_PROCESSORS else "auto"
        made = [resizer(resize, self.bits, kind, self.threads)(plane) for plane, resize in (*planes, *others)]
        return lambda: made if planes else [enlarged, *made]

    def use(self, weights: Weights) -> None:
        """Enlarge by these ``weights`` from the next plane on that is begun: another training of the network, for the
        scale and the precision, that the engine was opened with. Nothing is compiled again.

        Raises ValueError for other weights, and where the engine has none.
        """
        raise ValueError(f"the {self.name} engine has no weights that others could take the place of")

    @abstractmethod
    def _run(self, luma: np.ndarray, out: np.ndarray) -> None:
        """Fill ``out`` from ``luma``; both are checked."""

    def close(self) -> None:  # noqa: B027  (most engines hold nothing)
        """Release what the engine holds outside of Python's memory, if anything; it is not to be used afterwards."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self.close()


def plane_dtype(bits: int) -> type[np.uint8] | type[np.uint16]:
    """The dtype of a plane whose codes have ``bits`` bits."""
    return np.uint8 if bits == 8 else np.uint16


def check_plane(what: str, plane: np.ndarray, bits: int) -> None:
    """Raise ValueError, showing the bad value, unless ``plane`` is a 2-d array of ``bits``-bit codes."""
    dtype = np.dtype(plane_dtype(bits))
    if not isinstance(plane, np.ndarray) or plane.ndim != 2 or plane.dtype != dtype:
        got = f"{plane.shape} {plane.dtype}" if isinstance(plane, np.ndarray) else type(plane).__name__
        raise ValueError(f"{what} must be a 2-d {dtype} array for {bits}-bit codes, not {got}")
    if 0 in plane.shape:
        raise ValueError(f"{what} must be at least 1x1, not {plane.shape}")
    if plane.shape[1] > 1 and plane.strides[1] != plane.itemsize:
        raise ValueError(f"{what} must have contiguous rows: its strides are {plane.strides}, "
                         f"the last should be {plane.itemsize}")


def code_range(bits: int, full_range: bool) -> tuple[float, float]:
    """(gain, offset) with which a code v becomes the network's number: gain·v + offset.

    Networks read and write limited range: 16 to 235 of 255, so a code of b bits is v / (255·2^(b-8)). Full range is
    mapped onto that range, 0 to 16 and 2^b - 1 to 235, and back.
    """
    if full_range:
        return 219 / 255 / (2**bits - 1), 16 / 255
    return 1 / (255 * 2 ** (bits - 8)), 0.0
