"""Day 6, reductions: bytes per second beside the machine's read bandwidth, CuPy's reductions and PyTorch's."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import kernel_peers
from grader import budget, oracles
from grader.curriculum import find
from grader.worker import Lesson

FUNCTIONS = ("row_sum_tree", "row_sum", "row_max")
ROWS = (1, 64, 4096)
COLUMNS = (576, 4096, 131072)  # a hidden size, a context, a vocabulary
COPIES_ALIVE = 2


def run(context: dict[str, Any]) -> dict[str, Any]:
    """Each function and shape, in float32."""
    lesson = Lesson(find("day06").solution).module
    shapes = [{"function": f, "rows": rows, "columns": n} for f in FUNCTIONS for n in COLUMNS for rows in ROWS]
    figures = kernel_peers.measured(context, "read", shapes, memory_needed, functools.partial(measure, lesson))
    common = {"torch": kernel_peers.torch_version(), "dtype": "float32", "threads": lesson.THREADS}
    return {**common, "most_buffers": kernel_peers.MOST_BUFFERS, "shapes": figures}


def memory_needed(function: str, rows: int, columns: int) -> int:
    """Bytes on the GPU."""
    return COPIES_ALIVE * rows * columns * 4


def measure(
    lesson: Any, function: str, rows: int, columns: int, l2_bytes: int, rng: np.random.Generator
) -> kernel_peers.Figures:
    """One function on one shape: see `kernel_peers.beside`."""
    generator, moved = kernel_peers.random_numbers(rng), 4 * rows * columns + 4 * rows
    count = kernel_peers.buffers_needed(moved, l2_bytes)
    buffers = [(generator.standard_normal((rows, columns), np.float32),) for _ in range(count)]

    sample = kernel_peers.rows_to_check(rows, rng)
    x = kernel_peers.host_rows(buffers[0][0], sample)
    calls: dict[str, Callable[..., Any]] = {"ours": getattr(lesson, function)}
    if function == "row_max":
        expected, allowed = oracles.row_max(x), budget.row_max(x)
        calls |= {"cupy": lambda x: x.max(axis=1), "torch": lambda x: x.amax(1)}
    else:
        expected, allowed = oracles.row_sum(x), budget.row_sum(x)
        calls |= {"cupy": lambda x: x.sum(axis=1), "torch": lambda x: x.sum(1)}
    what = f"{function}, {rows} × {columns}"
    check = kernel_peers.within(expected, x.dtype, allowed)
    return kernel_peers.functions_beside(what, moved, buffers, sample, calls, check)
