"""Thread boundaries. Stages are plain iterators; here, and only here, one of them moves to a thread of its own."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

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


class Changes(threading.Condition):
    """The lock on what several threads look at: ``with changes`` for who looks or waits, ``with changes.telling()`` for
    who changes something, after which all that wait look again."""

    @contextlib.contextmanager
    def telling(self) -> Iterator[None]:
        with self:
            yield
            self.notify_all()


class newest(Generic[T]):
    """Iterate over ``iterable`` in a thread that waits for nobody: one item is kept, and a newer one takes its place.

    ``notify`` is called in that thread whenever there is something to take: an item, an error or the end, until
    `close`. ``dropped`` counts the items that nobody took in time; ``ended`` is whether there will be no more. The last
    item before an error or the end is kept until it is taken; then the error is raised, with its traceback, once.

    A context manager. ``close()`` returns when the thread has ended, which it does between two items: a source that
    waits for something must be told to stop before. The source is closed in the thread. One that answers nobody is left
    to itself after ``patience`` seconds: its thread ends, and closes it, as soon as it answers.
    """

    def __init__(self, iterable: Iterable[T], notify: Callable[[], object] = lambda: None,
                 patience: float | None = None) -> None:
        self.dropped = 0
        self.ended = False
        self._iterable, self._notify, self._patience = iterable, notify, patience
        self._changes = Changes()
        self._slot: Any = _END  # which stands for none
        self._error: BaseException | None = None
        self._stop = False
        self._worker = threading.Thread(target=self._work, name="vsr-newest", daemon=True)
        self._worker.start()

    def take(self, timeout: float | None = 0) -> T | None:
        """The newest item, once; None where there is none yet (after ``timeout`` seconds; None waits), or no more."""
        with self._changes:
            self._changes.wait_for(lambda: self._slot is not _END or self.ended, timeout)
            item, self._slot = self._slot, _END
            if item is not _END:
                return item
            error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # its traceback holds this frame
        return None

    def __iter__(self) -> Iterator[T]:
        while (item := self.take(None)) is not None:
            yield item

    def close(self) -> None:
        """Stop and join the thread; what it kept is dropped, and so is its error."""
        with self._changes:
            self._stop = True
        self._worker.join(self._patience)
        self._slot, self._error = _END, None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _work(self) -> None:
        error: BaseException | None = None
        try:
            iterator = iter(self._iterable)
            try:
                for item in iterator:
                    with self._changes.telling():
                        if self._stop:
                            break
                        self.dropped += self._slot is not _END
                        self._slot = item
                    del item  # what was taken is the consumer's alone
                    self._notify()
            finally:
                _close(iterator)
        except BaseException as raised:
            error = raised
        with self._changes.telling():
            self._error, self.ended = error, True
        if not self._stop:  # else there is nobody who would take it
            self._notify()


@contextlib.contextmanager
def beside(work: Callable[[], object], patience: float | None = None) -> Iterator[None]:
    """Run ``work`` in a thread while the body runs; when control returns, both have ended, or the body has for
    ``patience`` seconds: the thread is left to itself then.

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
        worker.join(patience)


def _close(iterator: Any) -> None:
    close = getattr(iterator, "close", None)
    if close is not None:
        close()
