"""Timing on a GPU: CUDA events around one call, repeated until the figure is steady."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

from engine.timing import times_on_gpu

TARGET = 0.005  # relative standard error of the mean to stop at
MOST = 400
LEAST = 30


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
