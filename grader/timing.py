"""Timing on a GPU: CUDA events around one call, repeated until the figure is steady."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable
from typing import Any

TARGET = 0.005  # relative standard error of the mean to stop at
MOST = 400
LEAST = 30

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


def steady(times: list[float]) -> bool:
    """Whether the mean is known well enough."""
    if len(times) < LEAST:
        return False
    return len(times) >= MOST or statistics.stdev(times) / len(times) ** 0.5 < TARGET * statistics.mean(times)


def time_on_gpu(call: Callable[[], Any]) -> dict[str, float]:
    """Median, interquartile range and number of repeats, in seconds.

    The L2 cache is overwritten before each call: in an engine, what a kernel reads was not touched a moment ago.
    """
    import cupy

    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    flush = cupy.empty(2 * properties["l2CacheSize"], cupy.uint8)
    times = times_on_gpu(call, lambda n: flush.fill(n & 1), steady)
    quartiles = statistics.quantiles(times, n=4)
    return {"median_s": statistics.median(times), "spread_s": quartiles[2] - quartiles[0], "repeats": len(times)}
