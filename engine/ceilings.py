"""The GPU's own ceilings, measured: what its memory gives, read and copied, and what its tensor cores compute."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from engine import cublas, device
from engine.ops.arguments import BFLOAT16
from engine.timing import hold_gpu, times_of

MOST_BYTES = 4 << 30  # many times the L2 cache
SHARE_OF_MEMORY = 8  # two arrays of that size and what their comparison takes must fit
THREADS = (256, 512, 1024)
BLOCKS = (2, 4, 8, 32)  # for each multiprocessor
SIDE = 8192  # of the matrices: their product is bound by arithmetic alone
CHECKED = 64  # rows and columns of the product that are compared
REPEATS = 20

Figures = dict[str, Any]


def measure() -> Figures:
    """All ceilings of the GPU in use.

    Returns:
        `read`, `copy` and `product`: median and quartiles in seconds, with `bytes_per_s`, or for the product
        `operations_per_s`. `launch`: of a kernel that does nothing, which is what any launch takes.

    Raises:
        AssertionError: a kernel does not do what it is timed for.
    """
    return {**bandwidths(), "product": product(), "launch": times_of(lambda: hold_gpu(0), repeats=REPEATS)}


def bytes_to_move(memory_bytes: int) -> int:
    """The size of the array that is read: a multiple of 16 bytes."""
    return min(MOST_BYTES, memory_bytes // SHARE_OF_MEMORY) // 16 * 16


def bandwidths() -> Figures:
    """Reading and copying device memory: the best of several launch shapes, checked against the right answer first."""
    import cupy

    rng = cupy.random.default_rng()
    size = bytes_to_move(cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["totalGlobalMem"])
    source = rng.integers(0, 2**32, size // 4, dtype=cupy.uint32)
    target, sink = cupy.empty_like(source), cupy.zeros(1, cupy.uint32)
    module = device.load_module("bandwidth.cu")
    read, copy = module.get_function("read_all"), module.get_function("copy_all")
    count = np.int64(size // 16)
    processors = cupy.cuda.Device().attributes["MultiProcessorCount"]

    read((processors * 4,), (256,), (source, count, sink))
    if int(source.sum(dtype=cupy.uint64)) % 2**32 != int(sink[0]):
        raise AssertionError("read_all did not read every byte once")
    copy((processors * 4,), (256,), (source, count, target))
    if not bool((source == target).all()):
        raise AssertionError("copy_all did not copy every byte")

    out: Figures = {"bytes": size}
    for name, kernel, last, moved in (("read", read, sink, size), ("copy", copy, target, 2 * size)):
        best: Figures = {}
        for threads in THREADS:
            for blocks in BLOCKS:
                shape = ((processors * blocks,), (threads,), (source, count, last))
                figures = times_of(functools.partial(kernel, *shape), repeats=REPEATS)
                rate = moved / figures["median_s"]
                if rate > best.get("bytes_per_s", 0):
                    best = {"bytes_per_s": rate, "threads": threads, "blocks": processors * blocks, **figures}
        out[name] = best
    return out


def product() -> Figures:
    """A large matrix product on tensor cores, bfloat16 with float32 sums, by cuBLAS; checked in some rows and columns first."""
    import cupy

    rng = cupy.random.default_rng()
    x, weight = (rng.standard_normal((SIDE, SIDE), cupy.float32).astype(BFLOAT16) for _ in range(2))
    out = cupy.empty((SIDE, SIDE), cupy.float32)
    cublas.product_into(x, weight, out)
    rows, columns = x[:CHECKED].astype(cupy.float32), weight[-CHECKED:].astype(cupy.float32)
    # Products of bfloat16 are exact in float32; a sum of n terms in any order is off by at most n roundings of Σ |terms|.
    allowed = SIDE * 2.0**-23 * (abs(rows) @ abs(columns).T)
    if not bool((abs(out[:CHECKED, -CHECKED:] - rows @ columns.T) <= allowed).all()):
        raise AssertionError("cuBLAS did not compute the product")
    figures = times_of(lambda: cublas.product_into(x, weight, out), repeats=REPEATS)
    return {"side": SIDE, "operations_per_s": 2 * SIDE**3 / figures["median_s"], **figures}
