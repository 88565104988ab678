"""The machine's own ceilings: read and copy bandwidth of device memory."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from benchmarks.timing import times_of
from engine import device
from engine.device import REPOSITORY

MOST_BYTES = 4 << 30  # many times the L2 cache
SHARE_OF_MEMORY = 8  # two arrays of that size and what their comparison takes must fit


def bytes_to_move(memory_bytes: int) -> int:
    """The size of the array that is read: a multiple of 16 bytes."""
    return min(MOST_BYTES, memory_bytes // SHARE_OF_MEMORY) // 16 * 16


def run(_context: dict[str, Any]) -> dict[str, Any]:
    """Best of several launch shapes, checked against the right answer first."""
    import cupy

    rng = cupy.random.default_rng()
    size = bytes_to_move(cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["totalGlobalMem"])
    source = rng.integers(0, 2**32, size // 4, dtype=cupy.uint32)
    target, sink = cupy.empty_like(source), cupy.zeros(1, cupy.uint32)
    module = device.load_module(REPOSITORY / "benchmarks" / "bandwidth.cu")
    read, copy = module.get_function("read_all"), module.get_function("copy_all")
    count = np.int64(size // 16)
    processors = cupy.cuda.Device().attributes["MultiProcessorCount"]

    read((processors * 4,), (256,), (source, count, sink))
    if int(source.sum(dtype=cupy.uint64)) % 2**32 != int(sink[0]):
        raise AssertionError("read_all did not read every byte once")
    copy((processors * 4,), (256,), (source, count, target))
    if not bool((source == target).all()):
        raise AssertionError("copy_all did not copy every byte")

    out: dict[str, Any] = {"bytes": size}
    for name, kernel, last, moved in (("read", read, sink, size), ("copy", copy, target, 2 * size)):
        best: dict[str, Any] = {}
        for threads in (256, 512, 1024):
            for blocks in (2, 4, 8, 32):
                shape = ((processors * blocks,), (threads,), (source, count, last))
                figures = times_of(functools.partial(kernel, *shape), repeats=20)
                rate = moved / figures["median_s"]
                if rate > best.get("bytes_per_s", 0):
                    best = {"bytes_per_s": rate, "threads": threads, "blocks": processors * blocks, **figures}
        out[name] = best
    return out
