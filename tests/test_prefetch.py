"""The thread boundary: order, errors, and that no way of leaving it leaves a thread or an open source behind."""

from __future__ import annotations

import gc
import queue
import threading
import time
import traceback
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsr.prefetch import beside, newest, prefetch


class Source:
    """Counts what was taken from it, remembers who closed it, and fails where it is told to."""

    def __init__(self, count: int, fails_at: int | None = None) -> None:
        self.count, self.fails_at = count, fails_at
        self.taken = 0
        self.closed_by: threading.Thread | None = None

    def __iter__(self) -> Iterator[int]:
        try:
            for number in range(self.count):
                if number == self.fails_at:
                    raise RuntimeError("broken at the source")
                self.taken += 1
                yield number
        finally:
            self.closed_by = threading.current_thread()


def workers() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("vsr-")]


@given(count=st.integers(0, 40), depth=st.integers(0, 9))
def test_everything_arrives_in_order(count: int, depth: int) -> None:
    assert list(prefetch(range(count), depth)) == list(range(count))


@pytest.mark.parametrize("depth", [0, 1, 4])
def test_an_error_arrives_after_the_items_before_it_with_its_traceback(depth: int) -> None:
    source = Source(9, fails_at=5)
    got = []
    with pytest.raises(RuntimeError, match="broken at the source") as caught:
        for item in prefetch(source, depth):
            got.append(item)
    assert got == [0, 1, 2, 3, 4]
    assert traceback.extract_tb(caught.value.__traceback__)[-1].line == 'raise RuntimeError("broken at the source")'
    assert source.closed_by is not None
    assert not workers()


def test_an_error_while_opening_or_closing_the_source_arrives_too() -> None:
    class Unopenable:
        def __iter__(self) -> Iterator[int]:
            raise OSError("no source")

    def unclosable() -> Iterator[int]:
        yield 1
        raise OSError("no end")

    with pytest.raises(OSError, match="no source"):
        list(prefetch(Unopenable(), 2))
    with pytest.raises(OSError, match="no end"):
        list(prefetch(unclosable(), 2))


@pytest.mark.parametrize("depth", [0, 1, 4])
@pytest.mark.parametrize("taken", [1, 3])
def test_closing_early_stops_joins_and_closes_the_source(depth: int, taken: int) -> None:
    source = Source(1000)
    items = prefetch(source, depth)
    for _ in range(taken):
        next(items)
    items.close()
    assert not workers()
    assert source.closed_by is not None
    assert (source.closed_by is threading.current_thread()) == (depth == 0)
    assert source.taken <= taken + depth + 2


def test_a_failing_consumer_leaves_no_thread() -> None:
    source = Source(1000)
    with pytest.raises(ZeroDivisionError):
        for item in prefetch(source, 3):
            item / (item - 2)
    gc.collect()
    assert not workers()
    assert source.closed_by is not None


def test_an_abandoned_iteration_is_stopped_by_garbage_collection() -> None:
    source = Source(1000)
    items = prefetch(source, 3)
    next(items)
    del items
    gc.collect()
    assert not workers()
    assert source.closed_by is not None


def test_nothing_happens_before_the_first_item_is_asked_for() -> None:
    source = Source(3)
    prefetch(source, 3)
    assert source.taken == 0 and not workers()


def test_it_runs_ahead_as_far_as_depth_and_no_further() -> None:
    source = Source(1000)
    items = prefetch(source, 4)
    next(items)
    deadline = time.monotonic() + 60
    while source.taken < 6 and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.05)
    assert source.taken == 6  # one handed out, four in the queue, one waiting at its door
    items.close()


def test_chained_boundaries_end_together() -> None:
    source = Source(1000)
    inner = prefetch(source, 2)

    def doubled() -> Iterator[int]:
        try:
            for item in inner:
                yield 2 * item
        finally:
            inner.close()

    outer = prefetch(doubled(), 2)
    assert [next(outer) for _ in range(5)] == [0, 2, 4, 6, 8]
    assert len(workers()) == 2
    outer.close()
    assert not workers()
    assert source.closed_by is not None


def test_a_depth_below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="-1"):
        prefetch([1], -1)


def test_beside_ends_with_its_body_and_drops_its_own_errors() -> None:
    begun, go, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert go.wait(10)
        ended.set()
        raise OSError("nobody hears it")

    with beside(work):
        assert begun.wait(10) and not ended.is_set()
        go.set()
    assert ended.is_set()
    with pytest.raises(KeyError), beside(lambda: None):
        raise KeyError("the body's own errors are heard")


# ---- the newest ----------------------------------------------------------------------------------------------------


class Told:
    """A source that gives an item when it is told to, and the end after None."""

    def __init__(self) -> None:
        self.items: queue.Queue[int | BaseException | None] = queue.Queue()
        self.arrived = threading.Semaphore(0)
        self.closed_by: threading.Thread | None = None

    def __iter__(self) -> Iterator[int]:
        try:
            while (item := self.items.get(timeout=20)) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            self.closed_by = threading.current_thread()

    def give(self, *items: int | BaseException | None) -> None:
        """Returns when all have arrived."""
        for item in items:
            self.items.put(item)
        for _ in items:
            assert self.arrived.acquire(timeout=20)


def test_the_newest_item_wins_and_those_that_nobody_took_are_counted() -> None:
    source = Told()
    with newest(source, source.arrived.release) as latest:
        assert latest.take() is None and latest.dropped == 0
        source.give(1)
        assert latest.take() == 1 and latest.take() is None
        source.give(2, 3, 4)
        assert latest.take() == 4 and latest.take() is None
        assert latest.dropped == 2 and not latest.ended
        source.give(5, None)
        assert latest.ended and latest.take(None) == 5 and latest.take(None) is None
        assert latest.dropped == 2
    assert not workers() and source.closed_by is not threading.current_thread()


def test_an_error_comes_after_the_last_item_and_once() -> None:
    source = Told()
    with newest(source, source.arrived.release) as latest:
        source.give(1, RuntimeError("broken at the source"))
        assert latest.take() == 1
        with pytest.raises(RuntimeError, match="broken at the source"):
            latest.take()
        assert latest.take() is None and latest.ended


def test_whoever_waits_gets_every_item_that_comes_slowly_enough() -> None:
    source = Told()
    got = []
    source.items.put(0)
    with newest(source) as latest:
        for item in latest:
            got.append(item)
            source.items.put(item + 1 if item < 9 else None)
    assert got == list(range(10)) and latest.dropped == 0


def test_a_source_that_answers_nobody_is_left_and_closes_when_it_does() -> None:
    source = Told()
    with newest(source, source.arrived.release, patience=0.01) as latest:
        source.give(1)
    assert workers() and source.closed_by is None
    source.items.put(2)
    for worker in workers():
        worker.join(20)
    assert source.closed_by is not None and latest.take() is None
    assert not source.arrived.acquire(blocking=False)  # nobody is told of it any more


def test_closing_ends_the_thread_of_a_source_that_never_ends() -> None:
    source = Source(1 << 60)
    with newest(source) as latest:
        assert latest.take(None) is not None
    assert not workers() and source.closed_by is not None
    assert latest.take(None) is None
    with pytest.raises(ZeroDivisionError), newest(Source(1 << 60)):
        raise ZeroDivisionError
    assert not workers()
