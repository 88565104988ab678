"""Day 15, SwiGLU: bytes per second beside the machine's copy bandwidth, and the same formula in CuPy and PyTorch."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from benchmarks import kernel_peers
from grader import budget, oracles
from grader.curriculum import find
from grader.worker import Lesson

TOKENS = (1, 64, 4096, 16384)
INTERMEDIATE = (1536, 8192, 14336)  # of SmolLM2-135M, Llama 3.2 1B and Llama 3.1 8B
COPIES_ALIVE = 6  # the CuPy expression's temporaries, gate, up and the result


def run(context: dict[str, Any]) -> dict[str, Any]:
    """Each shape, in float32."""
    lesson = Lesson(find("day15").solution).module
    shapes = [{"tokens": tokens, "intermediate": n} for n in INTERMEDIATE for tokens in TOKENS]
    figures = kernel_peers.measured(context, "copy", shapes, memory_needed, functools.partial(measure, lesson))
    common = {"torch": kernel_peers.torch_version(), "dtype": "float32", "threads": lesson.THREADS}
    return {**common, "most_buffers": kernel_peers.MOST_BUFFERS, "shapes": figures}


def memory_needed(tokens: int, intermediate: int) -> int:
    """Bytes on the GPU."""
    return COPIES_ALIVE * tokens * intermediate * 4


def measure(
    lesson: Any, tokens: int, intermediate: int, l2_bytes: int, rng: np.random.Generator
) -> kernel_peers.Figures:
    """One shape: see `kernel_peers.beside`."""
    generator, moved = kernel_peers.random_numbers(rng), 3 * 4 * tokens * intermediate
    buffers = [
        tuple(generator.standard_normal((tokens, intermediate), np.float32) for _ in range(2))
        for _ in range(kernel_peers.buffers_needed(moved, l2_bytes))
    ]
    sample = kernel_peers.rows_to_check(tokens, rng)
    gate, up = (kernel_peers.host_rows(array, sample) for array in buffers[0])
    expected, allowed = oracles.swiglu(gate, up), budget.swiglu(gate, up)
    calls = {"ours": lesson.swiglu, "cupy": cupy_expression, "torch": torch_expression}
    check = kernel_peers.within(expected, gate.dtype, allowed)
    return kernel_peers.functions_beside(f"{tokens} × {intermediate}", moved, buffers, sample, calls, check)


def cupy_expression(gate: Any, up: Any) -> Any:
    """The formula as one writes it with arrays."""
    import cupy

    return gate / (1 + cupy.exp(-gate)) * up


def torch_expression(gate: Any, up: Any) -> Any:
    """As Transformers' Llama has it."""
    import torch

    return torch.nn.functional.silu(gate) * up
