"""Resampling to any size: held to its definition, with and without Halide."""

from __future__ import annotations

import math
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vsr.engines.resample import Grid, Resampler
from vsr.errors import EngineError

try:
    import halide
except ImportError:
    halide = None

ENGINES = [pytest.param("cpu", marks=pytest.mark.skipif(halide is None, reason="no halide for this machine")),
           "reference"]
every_engine = pytest.mark.parametrize("engine", ENGINES)


def noise(height: int, width: int, bits: int = 8, seed: int = 0) -> np.ndarray:
    dtype = np.uint8 if bits == 8 else np.uint16
    return np.random.default_rng(seed).integers(0, 2**bits, (height, width), dtype=dtype)


def defined(plane: np.ndarray, target: tuple[int, int], bits: int, x: Grid, y: Grid) -> np.ndarray:
    """Keys' kernel in float64, widened where it shrinks, every input sample asked for its weight."""
    def matrix(source: int, target: int, grid: Grid) -> np.ndarray:
        rows = np.zeros((target, source))
        stretch = max(1.0, grid.step)
        for j in range(target):
            position = grid.start + j * grid.step
            for i in range(math.floor(position - 3 * stretch), math.ceil(position + 3 * stretch) + 1):
                t = abs(position - i) / stretch
                near, far = 1.5 * t**3 - 2.5 * t**2 + 1, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
                rows[j, min(max(i, 0), source - 1)] += near if t <= 1 else far if t < 2 else 0
            rows[j] /= rows[j].sum()
        return rows

    codes = matrix(plane.shape[0], target[0], y) @ plane @ matrix(plane.shape[1], target[1], x).T
    return np.clip(np.round(codes), 0, 2**bits - 1)


@every_engine
@settings(max_examples=40, deadline=None)
@given(source=st.tuples(st.integers(1, 40), st.integers(1, 90)),
       target=st.tuples(st.integers(1, 60), st.integers(1, 150)),
       bits=st.sampled_from([8, 10, 12, 16]), moved=st.tuples(*[st.floats(-3, 3)] * 2),
       spare=st.tuples(st.integers(0, 9), st.integers(0, 9)), flipped=st.booleans(), seed=st.integers(0, 99))
def test_within_one_level_of_the_definition(
        engine: str, source: tuple[int, int], target: tuple[int, int], bits: int, moved: tuple[float, float],
        spare: tuple[int, int], flipped: bool, seed: int) -> None:
    around = noise(source[0], source[1] + sum(spare), bits, seed)
    plane = around[::-1 if flipped else 1, spare[0]:spare[0] + source[1]]
    y, x = (Grid(s / t, (s / t - 1) / 2 + by) for s, t, by in zip(source, target, moved, strict=True))
    before = around.copy()
    got = Resampler(source, target, bits, x, y, engine=engine)(plane)
    assert np.array_equal(around, before)
    assert got.shape == target and got.dtype == plane.dtype
    want = defined(plane, target, bits, x, y)
    assert np.abs(got - want).max() <= 1
    assert np.array_equal(got, Resampler(source, target, bits, x, y, engine="reference")(plane))


@every_engine
@pytest.mark.parametrize(("source", "target"), [
    ((300, 400), (200, 267)), ((90, 500), (211, 700)), ((70, 50), (70, 33)), ((400, 7), (3, 200)),
    ((33, 65), (33, 65))])
def test_the_default_aligns_the_outer_edges(engine: str, source: tuple[int, int], target: tuple[int, int]) -> None:
    plane = noise(*source, 10)
    y, x = (Grid(s / t, s / t / 2 - 0.5) for s, t in zip(source, target, strict=True))
    got = Resampler(source, target, 10, engine=engine)(plane)
    assert np.abs(got - defined(plane, target, 10, x, y)).max() <= 1
    if source == target:
        assert np.array_equal(got, plane)


@every_engine
@pytest.mark.parametrize(("bits", "value"), [(8, 0), (8, 255), (10, 517), (16, 65535)])
def test_a_constant_stays_constant(engine: str, bits: int, value: int) -> None:
    plane = np.full((37, 53), value, noise(1, 1, bits).dtype)
    for target in ((50, 80), (20, 30), (11, 100), (37, 400)):
        assert (Resampler((37, 53), target, bits, engine=engine)(plane) == value).all()


@every_engine
def test_shrinking_leaves_no_stripes_that_the_output_cannot_show(engine: str) -> None:
    stripes = np.tile(np.array([40, 200], np.uint8), (20, 100))
    small = Resampler((20, 200), (20, 120), engine=engine)(stripes)[:, 4:-4]
    naive = stripes[:, np.round(np.arange(120) * 200 / 120).astype(int)]
    assert naive.std() > 70 and small.std() < 8 and abs(small.mean() - 120) < 1


@every_engine
def test_planes_as_they_come(engine: str) -> None:
    """Read-only, repeated or unaligned memory, a column cut out of a transposed row."""
    plane = noise(20, 40, 10)
    resampler = Resampler((20, 40), (30, 33), 10, engine=engine)
    wanted = resampler(plane)
    constant = plane.copy()
    constant.flags.writeable = False
    assert np.array_equal(resampler(constant), wanted)
    rows = np.ndarray((20, 40), np.uint16, np.zeros(1 + 20 * 83, np.uint8), offset=1, strides=(83, 2))
    rows[...] = plane
    assert np.array_equal(resampler(rows), wanted)
    same = np.broadcast_to(plane[0], (20, 40))
    assert np.array_equal(resampler(same), resampler(same.copy()))
    column = plane[:1].T
    assert np.array_equal(Resampler((40, 1), (31, 3), 10, engine=engine)(column),
                          Resampler((40, 1), (31, 3), 10, engine=engine)(column.copy()))


@every_engine
def test_the_number_of_threads_changes_nothing(engine: str) -> None:
    plane = noise(333, 217)
    wanted = Resampler((333, 217), (101, 400), engine=engine)(plane)
    for threads in (1, 2, 3, 500):
        assert np.array_equal(Resampler((333, 217), (101, 400), engine=engine, threads=threads)(plane), wanted)


@every_engine
def test_one_resampler_serves_several_threads(engine: str) -> None:
    planes = [noise(60, 200, seed=seed) for seed in range(2)]
    resampler = Resampler((60, 200), (90, 133), engine=engine)
    wanted = [resampler(plane) for plane in planes]
    right = [False, False]

    def work(index: int) -> None:
        right[index] = all(np.array_equal(resampler(planes[index]), wanted[index]) for _ in range(30))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True, True]


@every_engine
def test_other_planes_are_refused_by_name(engine: str) -> None:
    resampler = Resampler((6, 8), (9, 12), engine=engine)
    for bad, said in ((noise(6, 8, 10), "uint16"), (noise(6, 9), r"\(6, 8\), not \(6, 9\)"),
                      (noise(6, 16)[:, ::2], "contiguous")):
        with pytest.raises(ValueError, match=f"plane must .*{said}"):
            resampler(bad)


def test_without_halide_numpy_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "halide", None)
    assert Resampler((4, 4), (6, 6)).name == "reference"
    with pytest.raises(EngineError, match="pip install"):
        Resampler((4, 4), (6, 6), engine="cpu")
