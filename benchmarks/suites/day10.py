"""Day 10, matrix products on tensor cores: operations per second beside day 9's kernel, and PyTorch's (cuBLAS) in bfloat16."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import kernel_peers, products
from grader import budget
from grader.curriculum import find
from grader.worker import Lesson


def run(context: dict[str, Any]) -> dict[str, Any]:
    """Each shape."""
    yesterday = Lesson(find("day09").solution).module
    lesson = Lesson(find("day10").solution).module
    figures = kernel_peers.measured(
        context, "read", products.shapes(), products.memory_needed, functools.partial(measure, lesson, yesterday)
    )
    return {"torch": kernel_peers.torch_version(), "tile": lesson.TILE, "threads": lesson.THREADS, "shapes": figures}


def measure(
    lesson: Any, yesterday: Any, tokens: int, rows: int, columns: int, l2_bytes: int, rng: np.random.Generator
) -> kernel_peers.Figures:
    """One shape: see `kernel_peers.beside`."""
    generator, moved = kernel_peers.random_numbers(rng), 2 * tokens * columns + 2 * rows * columns + 4 * tokens * rows
    given = [
        products.numbers(generator, (tokens, columns), rows, wide=False)
        for _ in range(kernel_peers.buffers_needed(moved, l2_bytes))
    ]
    sample = kernel_peers.rows_to_check(tokens, rng)
    x, weight = (
        kernel_peers.host_rows(given[0].narrow_x, sample),
        kernel_peers.host_rows(given[0].weight, np.arange(rows)),
    )
    narrow, wide = [(one.narrow_x, one.weight) for one in given], [(one.x, one.weight) for one in given]
    others: dict[str, Callable[[], kernel_peers.Contender]] = {
        "day09": lambda: kernel_peers.on_cupy(yesterday.matmul, wide, sample)
    }
    if kernel_peers.has_torch():
        others["torch"] = lambda: kernel_peers.on_torch(lambda x, weight: x @ weight.T, narrow, sample)
    figures = kernel_peers.beside(
        f"{tokens} × {rows} × {columns}",
        moved,
        kernel_peers.on_cupy(lesson.tensor_core_matmul, narrow, sample),
        others,
        products.check_of(x, weight, budget.tensor_core_product),
    )
    return products.with_operations(figures, products.operations(tokens, rows, columns))
