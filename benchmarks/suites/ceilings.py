"""The machine's own ceilings: read and copy bandwidth of device memory."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from benchmarks.timing import times_of
from engine import device
from engine.device import REPOSITORY

BYTES = 4 << 30  # many times the L2 cache


def run(_context: dict[str, Any]) -> dict[str, Any]:
    """Best of several launch shapes, checked against the right answer first."""
    import cupy

    rng = cupy.random.default_rng(0)
    source = rng.integers(0, 2**32, BYTES // 4, dtype=cupy.uint32)
    target, sink = cupy.empty_like(source), cupy.zeros(1, cupy.uint32)
    module = device.load_module(REPOSITORY / "benchmarks" / "bandwidth.cu")
    read, copy = module.get_function("read_all"), module.get_function("copy_all")
    count = np.int64(BYTES // 16)
    processors = cupy.cuda.Device().attributes["MultiProcessorCount"]

    read((processors * 4,), (256,), (source, count, sink))
    if int(source.sum(dtype=cupy.uint64)) % 2**32 != int(sink[0]):
        raise AssertionError("read_all did not read every byte once")
    copy((processors * 4,), (256,), (source, count, target))
    if not bool((source == target).all()):
        raise AssertionError("copy_all did not copy every byte")

    out: dict[str, Any] = {"bytes": BYTES}
    for name, kernel, last, moved in (("read", read, sink, BYTES), ("copy", copy, target, 2 * BYTES)):
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
