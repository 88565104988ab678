"""Day 9, matrix products by tiles: operations per second beside CuPy's and PyTorch's in float32, which are cuBLAS's."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from benchmarks import kernel_peers, products
from grader import budget
from grader.curriculum import find
from grader.worker import Lesson


def run(context: dict[str, Any]) -> dict[str, Any]:
    """Each shape."""
    lesson = Lesson(find("day09").solution).module
    figures = kernel_peers.measured(
        context, "read", products.shapes(), products.memory_needed, functools.partial(measure, lesson)
    )
    return {"torch": kernel_peers.torch_version(), "tile": lesson.TILE, "shapes": figures}


def measure(
    lesson: Any, tokens: int, rows: int, columns: int, l2_bytes: int, rng: np.random.Generator
) -> kernel_peers.Figures:
    """One shape: see `kernel_peers.beside`. The peers get the weight in float32."""
    generator, moved = kernel_peers.random_numbers(rng), 4 * tokens * columns + 2 * rows * columns + 4 * tokens * rows
    given = [
        products.numbers(generator, (tokens, columns), rows, wide=True)
        for _ in range(kernel_peers.buffers_needed(moved, l2_bytes))
    ]
    sample = kernel_peers.rows_to_check(tokens, rng)
    weight = kernel_peers.host_rows(given[0].weight, np.arange(rows))
    check = products.check_of(kernel_peers.host_rows(given[0].x, sample), weight, budget.product)
    functions = {
        "ours": lambda x, weight, _wide: lesson.matmul(x, weight),
        "cupy": lambda x, _weight, wide: x @ wide.T,
        "torch": lambda x, _weight, wide: x @ wide.T,
    }
    buffers = [(one.x, one.weight, one.wide) for one in given]
    label = f"{tokens} × {rows} × {columns}"
    figures = kernel_peers.functions_beside(label, moved, buffers, sample, functions, check)
    return products.with_operations(figures, products.operations(tokens, rows, columns))
