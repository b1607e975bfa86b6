"""Thread boundaries. Stages are plain iterators; here, and only here, one of them moves to a thread of its own."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

_END = object()


def prefetch(iterable: Iterable[T], depth: int) -> Generator[T]:
    """Iterate over ``iterable`` in a thread that runs up to ``depth`` items ahead; order is kept, nothing is dropped.

    An error of the source is raised here, with its traceback, after the items that came before it. Whether the
    iteration ends, fails, or is abandoned (``close()``, an error at the consumer, garbage collection), the source is
    closed in its own thread and the thread is joined before control returns. Depth 0 iterates without a thread.
    """
    if depth < 0:
        raise ValueError(f"depth is a number of items, not {depth}")
    return _threaded(iterable, depth) if depth else _plain(iterable)


def _plain(iterable: Iterable[T]) -> Generator[T]:
    iterator = iter(iterable)
    try:
        yield from iterator
    finally:
        _close(iterator)


def _threaded(iterable: Iterable[T], depth: int) -> Generator[T]:
    # Each entry is (item, None) or, as the worker's very last act, (_END, its error or None).
    items: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(depth)
    stop = threading.Event()

    def work() -> None:
        error: BaseException | None = None
        try:
            iterator = iter(iterable)
            try:
                for item in iterator:
                    items.put((item, None))
                    if stop.is_set():
                        break
            finally:
                _close(iterator)
        except BaseException as raised:
            error = raised
        items.put((_END, error))

    worker = threading.Thread(target=work, name="vsr-prefetch", daemon=True)
    worker.start()
    running = True
    try:
        while True:
            item, error = items.get()
            if item is _END:
                running = False
                break
            yield item
            del item  # while this waits for the next one, the last one's memory is free
    finally:
        stop.set()
        interrupt: KeyboardInterrupt | None = None
        while running:
            try:
                running = items.get()[0] is not _END
            except KeyboardInterrupt as raised:
                interrupt = raised  # the worker is still inside the source, which must not be closed under it
        worker.join()
        if interrupt is not None:
            raise interrupt
    if error is not None:
        try:
            raise error
        finally:
            del error  # its traceback holds this frame


@contextlib.contextmanager
def beside(work: Callable[[], object]) -> Iterator[None]:
    """Run ``work`` in a thread while the body runs; when control returns, both have ended.

    ``work`` is done ahead of time for someone who would do it otherwise, and would meet its errors: they are dropped.
    """

    def quietly() -> None:
        with contextlib.suppress(Exception):
            work()

    worker = threading.Thread(target=quietly, name="vsr-beside", daemon=True)
    worker.start()
    try:
        yield
    finally:
        worker.join()


def _close(iterator: Any) -> None:
    close = getattr(iterator, "close", None)
    if close is not None:
        close()
