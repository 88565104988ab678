"""Day 5, embedding: bytes per second beside the machine's copy bandwidth, CuPy's indexing and PyTorch's embedding."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from benchmarks import kernel_peers
from engine import device
from grader import oracles
from grader.compare import exact
from grader.curriculum import find
from grader.spec import DTYPES
from grader.worker import Lesson

TABLES = ((49152, 576), (128256, 2048))  # of SmolLM2-135M and of Llama 3.2 1B
TOKENS = (1, 64, 4096, 65536)
COPIES_ALIVE = 4  # ours, CuPy's and torch's results, within a graph each


def run(context: dict[str, Any]) -> dict[str, Any]:
    """Each table and length of text, in bfloat16."""
    lesson = Lesson(find("day05").solution).module
    shapes = [
        {"tokens": tokens, "vocabulary": vocabulary, "hidden": hidden}
        for vocabulary, hidden in TABLES
        for tokens in TOKENS
    ]
    figures = kernel_peers.measured(context, "copy", shapes, memory_needed, functools.partial(measure, lesson))
    common = {"torch": kernel_peers.torch_version(), "dtype": "bfloat16", "threads": lesson.THREADS}
    return {**common, "most_buffers": kernel_peers.MOST_BUFFERS, "shapes": figures}


def memory_needed(tokens: int, vocabulary: int, hidden: int) -> int:
    """Bytes on the GPU: the table and the float32 numbers that it is made of, and results."""
    return 6 * vocabulary * hidden + COPIES_ALIVE * 2 * tokens * hidden


def measure(
    lesson: Any, tokens: int, vocabulary: int, hidden: int, l2_bytes: int, rng: np.random.Generator
) -> kernel_peers.Figures:
    """One text: see `kernel_peers.beside`. Each set of buffers has ids of its own, so that it reads other rows."""
    import cupy

    kind = DTYPES["bfloat16"]
    table = kernel_peers.random_numbers(rng).standard_normal((vocabulary, hidden), np.float32).astype(kind)
    moved = 2 * tokens * hidden * kind.itemsize + 4 * tokens
    buffers = [
        (cupy.asarray(rng.integers(0, vocabulary, tokens, dtype=np.int32)), table)
        for _ in range(kernel_peers.buffers_needed(moved, l2_bytes))
    ]
    sample = kernel_peers.rows_to_check(tokens, rng)
    bits = np.asarray(device.to_host(table.view(np.uint16)))
    expected = oracles.embedding(kernel_peers.host_rows(buffers[0][0], sample), bits.view(kind))
    calls = {"ours": lesson.embedding, "cupy": cupy_indexing, "torch": torch_embedding}
    what = f"{tokens} tokens of {vocabulary} × {hidden}"
    return kernel_peers.functions_beside(what, moved, buffers, sample, calls, lambda answer, _: exact(answer, expected))


def cupy_indexing(ids: Any, table: Any) -> Any:
    """The rows as one writes it with arrays; the bits, which CuPy can index whatever the dtype is."""
    return table.view(np.uint16)[ids].view(table.dtype)


def torch_embedding(ids: Any, table: Any) -> Any:
    """PyTorch's own."""
    import torch

    return torch.nn.functional.embedding(ids, table)
