"""Day 8, matrix times vector: bytes per second beside the machine's read bandwidth, CuPy and PyTorch."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from benchmarks import kernel_peers, products
from grader import budget
from grader.curriculum import find
from grader.worker import Lesson

SHAPES = (  # rows, columns
    (576, 576), (1536, 576), (576, 1536), (49152, 576),  # SmolLM2-135M: attention, MLP, logits
    (2048, 2048), (8192, 2048), (2048, 8192), (128256, 2048),  # Llama 3.2 1B
    (14336, 4096), (4096, 14336),  # Llama 3.1 8B
)  # fmt: skip


def run(context: dict[str, Any]) -> dict[str, Any]:
    """Each shape."""
    lesson = Lesson(find("day08").solution).module
    shapes = [{"rows": rows, "columns": columns} for rows, columns in SHAPES]
    figures = kernel_peers.measured(context, "read", shapes, memory_needed, functools.partial(measure, lesson))
    common = {
        "torch": kernel_peers.torch_version(),
        "threads": lesson.THREADS,
        "most_buffers": kernel_peers.MOST_BUFFERS,
    }
    return {**common, "shapes": figures}


def memory_needed(rows: int, columns: int) -> int:
    """Bytes on the GPU: the weight, and CuPy's copies of it in float32."""
    return 12 * rows * columns


def measure(lesson: Any, rows: int, columns: int, l2_bytes: int, rng: np.random.Generator) -> kernel_peers.Figures:
    """One shape: see `kernel_peers.beside`. PyTorch multiplies in bfloat16 and rounds its result."""
    generator, moved = kernel_peers.random_numbers(rng), 2 * rows * columns + 4 * columns + 4 * rows
    given = [
        products.numbers(generator, (columns,), rows, wide=False)
        for _ in range(kernel_peers.buffers_needed(moved, l2_bytes))
    ]
    sample = kernel_peers.rows_to_check(rows, rng)
    x = kernel_peers.host_rows(given[0].x, np.arange(columns))
    check = products.check_of(x, kernel_peers.host_rows(given[0].weight, sample), budget.product)
    functions = {
        "ours": lambda x, _narrow, weight: lesson.matvec(x, weight),
        "cupy": lambda x, _narrow, weight: weight.astype(np.float32) @ x,
        "torch": lambda _x, narrow, weight: weight @ narrow,
    }
    buffers = [(one.x, one.narrow_x, one.weight) for one in given]
    return kernel_peers.functions_beside(f"{rows} × {columns}", moved, buffers, sample, functions, check)
