"""Times inside a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from engine.timing import times_of


def times_in_graph(calls: Sequence[Callable[[], Any]], repeats: int = 30) -> dict[str, float]:
    """Time of one call inside a CUDA graph: no launch overhead of Python's.

    Args:
        calls: the same work on different buffers, so that together they outgrow the L2 cache. What they return is kept
            until the end: given back, its memory would serve the next call, whose writes would then stay in the cache.
    """
    import cupy

    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        kept = [call() for call in calls]  # compiles, and leaves memory in the pool for the capture
        stream.synchronize()
        del kept
        stream.begin_capture()
        try:
            kept = [call() for call in calls]
        finally:
            graph = stream.end_capture()
        figures = times_of(lambda: graph.launch(), repeats)
        del kept
    return {k: v / len(calls) if k.endswith("_s") else v for k, v in figures.items()}
