"""Day 11, RoPE: bytes per second beside the machine's copy bandwidth, and the same formulas in CuPy and PyTorch."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from benchmarks import kernel_peers
from grader import budget, oracles
from grader.curriculum import find
from grader.worker import Lesson

TOKENS = (1, 64, 4096, 16384)
HEADS = ((9, 64), (32, 64), (32, 128))  # heads and numbers in each: SmolLM2-135M, Llama 3.2 1B, Llama 3.1 8B
THETA = 500_000.0
COPIES_ALIVE = 6  # the expressions' temporaries, x and the result


def run(context: dict[str, Any]) -> dict[str, Any]:
    """Each shape, in float32."""
    lesson = Lesson(find("day11").solution).module
    shapes = [{"tokens": t, "heads": heads, "head_dim": dim} for heads, dim in HEADS for t in TOKENS]
    figures = kernel_peers.measured(context, "copy", shapes, memory_needed, functools.partial(measure, lesson))
    common = {"torch": kernel_peers.torch_version(), "dtype": "float32", "theta": THETA, "threads": lesson.THREADS}
    return {**common, "most_buffers": kernel_peers.MOST_BUFFERS, "shapes": figures}


def memory_needed(tokens: int, heads: int, head_dim: int) -> int:
    """Bytes on the GPU."""
    return COPIES_ALIVE * tokens * heads * head_dim * 4


def measure(
    lesson: Any, tokens: int, heads: int, head_dim: int, l2_bytes: int, rng: np.random.Generator
) -> kernel_peers.Figures:
    """One shape: see `kernel_peers.beside`."""
    import cupy

    generator = kernel_peers.random_numbers(rng)
    positions = rng.permutation(tokens).astype(np.int32)
    frequencies = lesson.inverse_frequencies(head_dim, THETA)
    moved = 2 * 4 * tokens * heads * head_dim + positions.nbytes + frequencies.nbytes
    buffers = [
        (
            generator.standard_normal((tokens, heads, head_dim), np.float32),
            cupy.asarray(positions),
            cupy.asarray(frequencies),
        )
        for _ in range(kernel_peers.buffers_needed(moved, l2_bytes))
    ]
    sample = kernel_peers.rows_to_check(tokens, rng)
    host = kernel_peers.host_rows(buffers[0][0], sample), positions[sample], frequencies
    expected, allowed = oracles.rope(*host), budget.rope(*host)
    calls = {"ours": lesson.rope, "cupy": cupy_expression, "torch": torch_expression}
    check = kernel_peers.within(expected, host[0].dtype, allowed)
    return kernel_peers.functions_beside(f"{tokens} × {heads} × {head_dim}", moved, buffers, sample, calls, check)


def cupy_expression(x: Any, positions: Any, frequencies: Any) -> Any:
    """The formula as one writes it with arrays."""
    import cupy

    angles = positions.astype(np.float32)[:, None, None] * frequencies
    cos, sin = cupy.cos(angles), cupy.sin(angles)
    half = x.shape[2] // 2
    first, second = x[..., :half], x[..., half:]
    return cupy.concatenate([first * cos - second * sin, second * cos + first * sin], axis=2)


def torch_expression(x: Any, positions: Any, frequencies: Any) -> Any:
    """As Transformers' Llama has it, the angles included."""
    import torch

    angles = positions.float()[:, None, None] * torch.cat([frequencies, frequencies])
    half = x.shape[2] // 2
    return x * angles.cos() + torch.cat([-x[..., half:], x[..., :half]], -1) * angles.sin()
