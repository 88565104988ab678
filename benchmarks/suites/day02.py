"""Day 2, widening: bytes per second beside the machine's copy bandwidth, CuPy's conversion and PyTorch's."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from benchmarks import kernel_peers
from grader import oracles
from grader.compare import exact
from grader.curriculum import find
from grader.spec import DTYPES
from grader.worker import Lesson

ELEMENTS = (1 << 10, 1 << 16, 1 << 20, 1 << 24, 1 << 28)
BYTES = 6  # of an element: two are read, four are written
COPIES_ALIVE = 4  # ours, CuPy's and torch's results, and what the random numbers were made of


def run(context: dict[str, Any]) -> dict[str, Any]:
    """Each length."""
    lesson = Lesson(find("day02").solution).module
    shapes = [{"elements": n} for n in ELEMENTS]
    figures = kernel_peers.measured(context, "copy", shapes, memory_needed, functools.partial(measure, lesson))
    return {
        "torch": kernel_peers.torch_version(),
        "threads": lesson.THREADS,
        "most_buffers": kernel_peers.MOST_BUFFERS,
        "shapes": figures,
    }


def memory_needed(elements: int) -> int:
    """Bytes on the GPU."""
    return (COPIES_ALIVE * 4 + 2) * elements


def measure(lesson: Any, elements: int, l2_bytes: int, rng: np.random.Generator) -> kernel_peers.Figures:
    """One length: see `kernel_peers.beside`."""
    generator, moved = kernel_peers.random_numbers(rng), BYTES * elements
    buffers = [
        (
            generator.standard_normal(elements, np.float32).astype(DTYPES["bfloat16"]),
            generator.standard_normal(elements, np.float32),
        )
        for _ in range(kernel_peers.buffers_needed(moved, l2_bytes))
    ]

    def widened(src: Any, dst: Any) -> Any:
        lesson.widen(src, dst)
        return dst

    sample = kernel_peers.rows_to_check(elements, rng)
    host = kernel_peers.host_rows(buffers[0][0], sample)
    expected = oracles.widen(host, np.zeros(len(host), np.float32))
    calls = {"ours": widened, "cupy": lambda src, _: src.astype(np.float32), "torch": lambda src, _: src.float()}
    return kernel_peers.functions_beside(
        f"{elements} elements", moved, buffers, sample, calls, lambda answer, _: exact(answer, expected)
    )
