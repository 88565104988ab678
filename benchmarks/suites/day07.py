"""Day 7, RMSNorm: bytes per second beside the machine's copy bandwidth, a CuPy expression and PyTorch."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from benchmarks import kernel_peers
from engine import device
from grader import budget, oracles
from grader.curriculum import find
from grader.spec import DTYPES, Allowed
from grader.worker import Lesson

ROWS = (1, 64, 4096, 65536)
HIDDEN = (576, 2048, 4096)
EPS = 1e-5
COPIES_ALIVE = 6  # the CuPy expression's float32 temporaries, x and the result


def run(context: dict[str, Any]) -> dict[str, Any]:
    """Each shape and dtype."""
    lesson = Lesson(find("day07").solution).module
    shapes = [
        {"rows": rows, "hidden": hidden, "dtype": dtype}
        for dtype in ("bfloat16", "float32")
        for hidden in HIDDEN
        for rows in ROWS
    ]
    figures = kernel_peers.measured(context, "copy", shapes, memory_needed, functools.partial(measure, lesson))
    common = {
        "torch": kernel_peers.torch_version(),
        "eps": EPS,
        "threads": lesson.THREADS,
        "most_buffers": kernel_peers.MOST_BUFFERS,
    }
    return {**common, "shapes": figures}


def memory_needed(rows: int, hidden: int, dtype: str) -> int:
    """Bytes on the GPU."""
    return COPIES_ALIVE * rows * hidden * 4


def measure(
    lesson: Any, rows: int, hidden: int, dtype: str, l2_bytes: int, rng: np.random.Generator
) -> kernel_peers.Figures:
    """One shape: see `kernel_peers.beside`."""
    generator, kind = kernel_peers.random_numbers(rng), DTYPES[dtype]
    weight = (1 + 0.5 * generator.standard_normal(hidden, np.float32)).astype(kind)
    size = rows * hidden * kind.itemsize
    buffers = [
        (generator.standard_normal((rows, hidden), np.float32).astype(kind), weight)
        for _ in range(kernel_peers.buffers_needed(2 * size, l2_bytes))
    ]
    sample = kernel_peers.rows_to_check(rows, rng)
    host = kernel_peers.host_rows(buffers[0][0], sample), np.asarray(device.to_host(weight)), EPS
    expected, allowed = oracles.rmsnorm(*host), budget.rmsnorm(*host)
    calls = {"ours": lambda x, w: lesson.rmsnorm(x, w, EPS), "cupy": cupy_expression, "torch": torch_rms_norm}
    what, moved = f"{rows} × {hidden} {dtype}", 2 * size + weight.nbytes
    check = kernel_peers.within(expected, kind, Allowed(allowed))
    return kernel_peers.functions_beside(what, moved, buffers, sample, calls, check)


def cupy_expression(x: Any, weight: Any) -> Any:
    """RMSNorm as one writes it with arrays: in float32, rounded at the end."""
    import cupy

    wide = x.astype(np.float32)
    scale = 1 / cupy.sqrt((wide * wide).mean(axis=1, keepdims=True) + np.float32(EPS))
    return (wide * scale * weight.astype(np.float32)).astype(x.dtype)


def torch_rms_norm(x: Any, weight: Any) -> Any:
    """PyTorch's own."""
    import torch

    return torch.nn.functional.rms_norm(x, (x.shape[1],), weight, EPS)
