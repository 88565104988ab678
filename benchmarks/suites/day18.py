"""Day 18, argmax: bytes per second beside the machine's read bandwidth, CuPy's argmax and PyTorch's."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from benchmarks import kernel_peers
from grader import oracles
from grader.compare import Comparison, exact
from grader.curriculum import find
from grader.worker import Lesson

ROWS = (1, 8, 64, 512)
VOCABULARIES = (49152, 128256)  # of SmolLM2-135M and of Llama 3.2 1B
COPIES_ALIVE = 2


def run(context: dict[str, Any]) -> dict[str, Any]:
    """Each shape, in float32; without the look at the result, which no graph can hold."""
    lesson = Lesson(find("day18").solution).module
    shapes = [{"rows": rows, "vocabulary": vocabulary} for vocabulary in VOCABULARIES for rows in ROWS]
    figures = kernel_peers.measured(context, "read", shapes, memory_needed, functools.partial(measure, lesson))
    common = {"torch": kernel_peers.torch_version(), "dtype": "float32", "threads": lesson.THREADS, "part": lesson.PART}
    return {**common, "most_buffers": kernel_peers.MOST_BUFFERS, "shapes": figures}


def memory_needed(rows: int, vocabulary: int) -> int:
    """Bytes on the GPU."""
    return COPIES_ALIVE * rows * vocabulary * 4


def measure(lesson: Any, rows: int, vocabulary: int, l2_bytes: int, rng: np.random.Generator) -> kernel_peers.Figures:
    """One shape: see `kernel_peers.beside`."""
    generator, moved = kernel_peers.random_numbers(rng), 4 * rows * vocabulary + 4 * rows
    buffers = [
        (generator.standard_normal((rows, vocabulary), np.float32),)
        for _ in range(kernel_peers.buffers_needed(moved, l2_bytes))
    ]
    sample = kernel_peers.rows_to_check(rows, rng)
    expected = oracles.largest_indices(kernel_peers.host_rows(buffers[0][0], sample))
    calls = {"ours": lesson.largest_indices, "cupy": lambda x: x.argmax(axis=1), "torch": lambda x: x.argmax(1)}

    def check(answer: np.ndarray, _budgets: float) -> Comparison:
        return exact(answer.astype(np.int32), expected)  # theirs is int64

    return kernel_peers.functions_beside(f"{rows} × {vocabulary}", moved, buffers, sample, calls, check)
