"""Timing on a GPU: CUDA events around one call, repeated until the figure is steady."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

TARGET = 0.005  # relative standard error of the mean to stop at
MOST = 400
LEAST = 30


def time_on_gpu(call: Callable[[], Any]) -> dict[str, float]:
    """Median, spread and number of repeats, in seconds.

    The L2 cache is overwritten before each call: in an engine, what a kernel reads was not touched a moment ago.
    """
    import cupy

    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    flush = cupy.empty(2 * properties["l2CacheSize"], cupy.uint8)
    begin, end = cupy.cuda.Event(), cupy.cuda.Event()
    for _ in range(5):
        call()
    times: list[float] = []
    while len(times) < MOST:
        flush.fill(len(times) & 1)
        begin.record()
        call()
        end.record()
        end.synchronize()
        times.append(cupy.cuda.get_elapsed_time(begin, end) * 1e-3)
        if len(times) >= LEAST and statistics.stdev(times) / len(times) ** 0.5 < TARGET * statistics.mean(times):
            break
    quartiles = statistics.quantiles(times, n=4)
    return {
        "median_s": statistics.median(times),
        "spread_s": quartiles[2] - quartiles[0],
        "repeats": len(times),
    }
