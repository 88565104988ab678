"""Day 12, softmax: bytes per second beside the machine's copy bandwidth, a CuPy expression and PyTorch's softmax."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from benchmarks import kernel_peers
from grader import budget, oracles
from grader.curriculum import find
from grader.worker import Lesson

ROWS = (1, 64, 4096, 65536)
COLUMNS = (128, 1024, 4096, 16384)
COPIES_ALIVE = 5  # the CuPy expression's temporaries, x and the result


def run(context: dict[str, Any]) -> dict[str, Any]:
    """Each shape, in float32."""
    lesson = Lesson(find("day12").solution).module
    shapes = [{"rows": rows, "columns": n} for n in COLUMNS for rows in ROWS]
    figures = kernel_peers.measured(context, "copy", shapes, memory_needed, functools.partial(measure, lesson))
    common = {"torch": kernel_peers.torch_version(), "dtype": "float32", "threads": lesson.THREADS}
    return {**common, "most_buffers": kernel_peers.MOST_BUFFERS, "shapes": figures}


def memory_needed(rows: int, columns: int) -> int:
    """Bytes on the GPU."""
    return COPIES_ALIVE * rows * columns * 4


def measure(lesson: Any, rows: int, columns: int, l2_bytes: int, rng: np.random.Generator) -> kernel_peers.Figures:
    """One shape: see `kernel_peers.beside`."""
    generator, moved = kernel_peers.random_numbers(rng), 2 * 4 * rows * columns
    buffers = [
        (4 * generator.standard_normal((rows, columns), np.float32),)
        for _ in range(kernel_peers.buffers_needed(moved, l2_bytes))
    ]
    sample = kernel_peers.rows_to_check(rows, rng)
    x = kernel_peers.host_rows(buffers[0][0], sample)
    expected, allowed = oracles.softmax(x), budget.softmax(x)
    calls = {"ours": lesson.softmax, "cupy": cupy_expression, "torch": lambda x: x.softmax(1)}
    check = kernel_peers.within(expected, x.dtype, allowed)
    return kernel_peers.functions_beside(f"{rows} × {columns}", moved, buffers, sample, calls, check)


def cupy_expression(x: Any) -> Any:
    """The stable formula as one writes it with arrays."""
    import cupy

    powers = cupy.exp(x - x.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
