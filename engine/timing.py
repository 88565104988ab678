"""Times: of work on a GPU by CUDA events, and what several of them say together."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable, Sequence
from typing import Any

_HOLD = r"""
extern "C" __global__ void hold(long long cycles) {
  long long start = clock64();
  while (clock64() - start < cycles) {}
}
"""


@functools.cache
def _hold_kernel() -> Any:
    import cupy

    return cupy.RawKernel(_HOLD, "hold")


def hold_gpu(milliseconds: float = 0.5) -> None:
    """Keep the GPU busy, so that Python can queue what is to be timed before it begins: no launch overhead is measured."""
    import cupy
    import numpy as np

    kilohertz = cupy.cuda.Device().attributes["ClockRate"]
    _hold_kernel()((1,), (1,), (np.int64(kilohertz * milliseconds),))


def times_on_gpu(
    call: Callable[[], Any], prepare: Callable[[int], Any], enough: Callable[[list[float]], bool]
) -> list[float]:
    """Seconds of single calls, until there are enough.

    Args:
        prepare: queued before each call, outside the timing; gets the call's number.
    """
    import cupy

    begin, end = cupy.cuda.Event(), cupy.cuda.Event()
    for _ in range(5):
        call()
    times: list[float] = []
    while not enough(times):
        prepare(len(times))
        hold_gpu()
        begin.record()
        call()
        end.record()
        end.synchronize()
        times.append(cupy.cuda.get_elapsed_time(begin, end) * 1e-3)
    return times


def spread(times_s: Sequence[float]) -> dict[str, float]:
    """Median, quartiles and number of repeats of some times, at least one."""
    low, _, high = statistics.quantiles(times_s, n=4, method="inclusive") if len(times_s) > 1 else 3 * [times_s[0]]
    return {"median_s": statistics.median(times_s), "quartile1_s": low, "quartile3_s": high, "repeats": len(times_s)}


def times_of(call: Callable[[], Any], repeats: int = 50) -> dict[str, float]:
    """Median and quartiles of single calls on the GPU, in seconds."""
    return spread(times_on_gpu(call, lambda _: None, lambda times: len(times) >= repeats))
