"""Queries, keys and values that attention gets wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from grader.models import layer_trace

Make = Callable[[np.random.Generator], Sequence[Any]]
Change = Callable[[np.ndarray, np.ndarray, np.ndarray], Sequence[np.ndarray]]
VOCABULARY = 49152  # of SmolLM2


def qkv(tokens: int, length: int, heads: int, kv_heads: int, head_dim: int = 64, scale: float = 2.0) -> Make:
    """Normal numbers; the scores have a standard deviation of `scale`, so that some keys matter more than others."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        shapes = (tokens, heads, head_dim), (length, kv_heads, head_dim), (length, kv_heads, head_dim)
        q, k, v = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
        return q * np.float32(scale), k, v

    return make


def operations(args: Sequence[Any]) -> int:
    """Floating-point operations of causal attention: two products of head_dim for each query and key that it sees."""
    q, k, _ = args
    tokens, heads, head_dim = q.shape
    seen = tokens * (len(k) - tokens) + tokens * (tokens + 1) // 2
    return 4 * heads * head_dim * seen


def changed(make: Make, change: Change) -> Make:
    """The arguments of `make`, after a change."""
    return lambda rng: [np.ascontiguousarray(array) for array in change(*make(rng))]


def far_from_zero(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> Sequence[np.ndarray]:
    """Scores around -300 in the even heads and +300 in the odd ones: a float32 holds the exponential of neither."""
    sign = np.where(np.arange(q.shape[1]) % 2, 1.0, -1.0)[:, None]
    along = np.full(q.shape[2], (300 / q.shape[2] ** 0.5) ** 0.5)
    return (q / 4 + sign * along).astype(np.float32), (k / 4 + along).astype(np.float32), v


def far_below(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> Sequence[np.ndarray]:
    """Scores around -30,000, below numbers that stand for -inf elsewhere."""
    along = np.full(q.shape[2], (30_000 / q.shape[2] ** 0.5) ** 0.5)
    return (q / 4 - along).astype(np.float32), (k / 4 + along).astype(np.float32), v


def first_outweighs(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> Sequence[np.ndarray]:
    """The first key's score is around 45, the others' around -60: a warp's last score is far below its largest."""
    along = np.full(q.shape[2], (60 / q.shape[2] ** 0.5) ** 0.5)
    factor = np.where(np.arange(len(k)) == 0, 0.75, -1.0)[:, None, None]
    return (q / 4 + along).astype(np.float32), (k / 4 + factor * along).astype(np.float32), v


def nan_from(first: int) -> Change:
    """NaN in every row from that token on: queries before it must not notice."""

    def change(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> Sequence[np.ndarray]:
        q[first - len(k) + len(q) :], k[first:], v[first:] = np.nan, np.nan, np.nan
        return q, k, v

    return change


def huge_from(first: int) -> Change:
    """Keys from that token on that outweigh all others, with NaN for values: queries before it must not notice."""

    def change(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> Sequence[np.ndarray]:
        k[first:] *= 1e4
        v[first:] = np.nan
        return q, k, v

    return change


def same_keys(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> Sequence[np.ndarray]:
    """All keys alike: each query gets the plain mean of the values that it sees."""
    k[:] = k[:1]
    return q, k, v


def real(model: str, tokens: int, length: int, kv_heads: int | None = None) -> Make:
    """Queries, keys and values of the first layer, for random tokens: real heads have outliers.

    Args:
        kv_heads: heads that K and V are repeated to, or None to leave them as the model has them.
    """

    def make(rng: np.random.Generator) -> Sequence[Any]:
        trace = layer_trace(model, 0, rng.integers(0, VOCABULARY, length))
        q, k, v = (trace[name].astype(np.float32) for name in ("q", "k", "v"))
        times = kv_heads // k.shape[1] if kv_heads else 1
        return q[length - tokens :].copy(), np.repeat(k, times, axis=1), np.repeat(v, times, axis=1)

    return make
