"""Attention for any number of queries: each by the kernel that is made for it."""

from __future__ import annotations

from typing import Any

from engine.ops.attention import attention
from engine.ops.decode_attention import MAX_GROUP, MAX_HEAD_DIM, decode_attention, longest


def attend(q: Any, k: Any, v: Any) -> Any:
    """Causal attention, as `engine.ops.attention` says.

    Args:
        q: [tokens, heads, head_dim] float32: the last `tokens` of `length` tokens.
        k: [length, kv_heads, head_dim] float32, all tokens so far.
        v: like k.

    Returns:
        [tokens, heads, head_dim] float32.

    Raises:
        ValueError: a shape, dtype or layout that does not fit.
    """
    if _is_for_decode(q.shape, k.shape):
        return decode_attention(q[0], k, v, k.shape[0])[None]
    return attention(q, k, v)


def _is_for_decode(q: tuple[int, ...], k: tuple[int, ...]) -> bool:
    """Whether there is one query, and day 20's kernel has room for it: what is wrong, `attention` names."""
    if len(q) != 3 or len(k) != 3 or q[0] != 1 or 0 in (*q, *k) or q[1] % k[1]:
        return False
    group, head_dim = q[1] // k[1], q[2]
    return group <= MAX_GROUP and head_dim <= MAX_HEAD_DIM and k[0] <= longest(group, head_dim)
