"""The most fp32 multiply-adds that this machine does in a second: what the CPU engine's speed is held against.

Vectors of numbers x are replaced by a·x + b again and again, each by itself, all in registers: no memory, no
dependence but on its own last value. Matrix products of libraries reach barely half of it.
"""

from __future__ import annotations

import time

import halide as hl
import numpy as np

from vsr.engines.halide_plane import Host

STEPS = 4_000_000  # of every chain in a run, which takes about 10 ms
RUNS = 3


class Peak:
    """A kernel compiled for the machine that the CPU engine compiles for, run by ``threads`` threads."""

    def __init__(self, threads: int) -> None:
        host = Host.current()
        # A multiply-add takes about 4 cycles and up to 4 begin in each; the rest of the registers hold a and b.
        chains = host.registers * 3 // 4
        self._target = hl.Target(host.target)
        self._steps, self._a, self._b = hl.Param(hl.Int(32)), hl.Param(hl.Float(32)), hl.Param(hl.Float(32))
        lane, chain, task = (hl.Var(name) for name in ("lane", "chain", "task"))
        value, self._out = hl.Func("value"), hl.Func("out")
        step = hl.RDom([(0, self._steps)])
        value[lane, chain, task] = hl.f32(lane + chain)
        # 0 · step: what is to be repeated has to name the step.
        value[lane, chain, task] = value[lane, chain, task] * self._a + (self._b + hl.f32(0 * step.x))
        self._out[lane, chain, task] = value[lane, chain, task]
        (self._out.bound(lane, 0, host.lanes).bound(chain, 0, chains)
             .vectorize(lane, host.lanes).unroll(chain).parallel(task))
        value.compute_at(self._out, task).vectorize(lane, host.lanes).unroll(chain)
        (value.update(0).reorder(lane, chain, step.x, task).vectorize(lane, host.lanes).unroll(chain))
        self._values = np.zeros((threads, chains, host.lanes), np.float32)
        self.run(1, 1, 0)

    def run(self, steps: int, a: float, b: float) -> np.ndarray:
        """The numbers (threads, chains, lanes) after so many steps; at first each is its chain's plus its lane's."""
        self._steps.set(steps)
        self._a.set(a)
        self._b.set(b)
        self._out.realize(hl.Buffer(self._values), self._target)
        return self._values

    def gmac_per_s(self) -> float:
        """The best of a few short runs, in 10^9 multiply-adds a second."""
        seconds = []
        for _ in range(RUNS):
            begun = time.perf_counter()
            self.run(STEPS, 0.999, 0.25)  # goes towards 250, far from denormal numbers
            seconds.append(time.perf_counter() - begun)
        return self._values.size * STEPS / min(seconds) / 1e9
