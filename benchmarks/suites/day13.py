"""Day 13, causal attention with all scores in memory: operations per second beside a CuPy expression and PyTorch."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import kernel_peers, products
from engine import device
from grader import budget, oracles
from grader.attention_inputs import operations
from grader.curriculum import find
from grader.spec import Allowed
from grader.worker import Lesson

TOKENS = (128, 512, 2048, 4096)
HEADS, HEAD_DIM = 32, 64
QUERIES_CHECKED = 24  # of one shape: the oracle looks at each query by itself
COPIES_ALIVE = 5  # of the scores: the CuPy expression's temporaries
FLOAT32 = np.dtype(np.float32)


def run(context: dict[str, Any]) -> dict[str, Any]:
    """Each number of tokens."""
    lesson = Lesson(find("day13").solution).module
    shapes = [{"tokens": n, "length": n, "heads": HEADS, "kv_heads": HEADS} for n in TOKENS]
    figures = attention_figures(context, lesson.causal_attention, shapes)
    for shape in figures:
        shape["score_bytes"] = lesson.score_bytes(shape["tokens"], HEADS)
    return {"torch": kernel_peers.torch_version(), "head_dim": HEAD_DIM, "threads": lesson.THREADS, "shapes": figures}


def attention_figures(
    context: dict[str, Any], attention: Callable[..., Any], shapes: list[dict[str, int]]
) -> list[kernel_peers.Figures]:
    """Each shape, for this day and those that are measured beside it."""
    return kernel_peers.measured(context, "read", shapes, memory_needed, functools.partial(measure, attention))


def memory_needed(tokens: int, length: int, heads: int, kv_heads: int) -> int:
    """Bytes on the GPU."""
    return COPIES_ALIVE * 4 * heads * tokens * length + 8 * HEAD_DIM * 4 * (tokens * heads + length * kv_heads)


def measure(
    attention: Callable[..., Any],
    tokens: int,
    length: int,
    heads: int,
    kv_heads: int,
    l2_bytes: int,
    rng: np.random.Generator,
) -> kernel_peers.Figures:
    """One shape: see `kernel_peers.beside`. The bytes are those of the arguments and the result."""
    generator = kernel_peers.random_numbers(rng)
    moved = 4 * HEAD_DIM * 2 * (tokens * heads + length * kv_heads)
    sizes = (tokens, heads, HEAD_DIM), (length, kv_heads, HEAD_DIM), (length, kv_heads, HEAD_DIM)
    buffers = [
        tuple(generator.standard_normal(size, np.float32) for size in sizes)
        for _ in range(kernel_peers.buffers_needed(moved, l2_bytes))
    ]
    sample = np.unique([0, tokens - 1, *rng.integers(0, tokens, QUERIES_CHECKED - 2)])
    expected, allowed = right(tuple(device.to_host(array) for array in buffers[0]), sample)
    functions = {"ours": attention, "cupy": cupy_expression, "torch": torch_attention}
    what = f"{tokens} queries, {length} keys, {heads} heads on {kv_heads}"
    check = kernel_peers.within(expected, FLOAT32, Allowed(0.0, allowed))
    figures = kernel_peers.functions_beside(what, moved, buffers, sample, functions, check)
    return products.with_operations(figures, operations(buffers[0]))


def right(arrays: tuple[Any, ...], sample: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows of some queries, and how far off they may be; on the host, all of them would take too long."""
    q, k, v = arrays
    ends = sample + 1 + len(k) - len(q)
    alone = [(q[i : i + 1], k[:end], v[:end]) for i, end in zip(sample, ends, strict=True)]
    allowed = [budget.attention(*one).absolute for one in alone]
    return np.concatenate([oracles.attention(*one) for one in alone]), np.concatenate(allowed)


def cupy_expression(q: Any, k: Any, v: Any) -> Any:
    """Attention as one writes it with arrays: matrix products, a mask, a softmax."""
    import cupy

    (tokens, heads, head_dim), (length, kv_heads, _) = q.shape, k.shape
    groups = q.transpose(1, 0, 2).reshape(kv_heads, heads // kv_heads, tokens, head_dim)
    scores = cupy.matmul(groups, k.transpose(1, 2, 0)[:, None]) * np.float32(1 / math.sqrt(head_dim))
    hidden = cupy.arange(length) > cupy.arange(length - tokens, length)[:, None]
    scores = cupy.where(hidden, np.float32(-np.inf), scores)
    weights = cupy.exp(scores - scores.max(axis=-1, keepdims=True))
    weights = weights / weights.sum(axis=-1, keepdims=True)
    out = cupy.matmul(weights, v.transpose(1, 0, 2)[:, None])
    return out.reshape(heads, tokens, head_dim).transpose(1, 0, 2)


def torch_attention(q: Any, k: Any, v: Any) -> Any:
    """PyTorch's own, in float32: a single query sees all keys, so it needs no mask."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    heads_first = (array.transpose(0, 1)[None] for array in (q, k, v))
    options = {"is_causal": q.shape[0] > 1, "enable_gqa": q.shape[1] != k.shape[1]}
    return torch.nn.functional.scaled_dot_product_attention(*heads_first, **options)[0].transpose(0, 1)
