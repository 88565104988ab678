"""Day 14: causal attention, one block for each query and head; groups of heads share K and V."""

import math
from typing import Any

import numpy as np

from engine import device
from engine.ops.arguments import FLOAT32, check_array

THREADS = 512  # of a block: sixteen warps; the kernel is compiled for this number
MAX_HEAD_DIM = 256
MAX_QUERIES = 2**31 - 1  # blocks that one grid can have along x
MAX_HEADS = 65535  # and along y


def columns_of_a_lane(head_dim: int) -> int:
    """How many columns of a head each of 32 lanes takes; the kernel is compiled for this number too."""
    return -(-head_dim // 32)


def attention_kernel(head_dim: int) -> Any:
    """The kernel in kernel.cu. As compiled, it may ask for 48 KiB of dynamic shared memory."""
    source = device.source_beside(__file__, "attention.cu")
    sizes = {"COLUMNS": columns_of_a_lane(head_dim), "THREADS": THREADS}
    return device.load_module(source, sizes).get_function("attention")


def longest(head_dim: int) -> int:
    """Keys whose scores fit into a block's shared memory beside the kernel's other arrays, on the device in use."""
    others = THREADS // 32 * (32 * columns_of_a_lane(head_dim) + 2)
    return device.most_shared_bytes() // 4 - others


def check_arguments(q: Any, k: Any, v: Any) -> None:
    """Refuse what the kernel would misread, or has no room for.

    Raises:
        ValueError: the message names the argument, what it is and what was expected.
    """
    check_array("q", q, ("tokens", "heads", "head_dim"), FLOAT32)
    tokens, heads, head_dim = q.shape
    if tokens > MAX_QUERIES or not 1 <= heads <= MAX_HEADS or not 1 <= head_dim <= MAX_HEAD_DIM:
        most = f"at most {MAX_QUERIES} tokens, 1 to {MAX_HEADS} heads and 1 to {MAX_HEAD_DIM} columns of a head"
        raise ValueError(f"q has shape {q.shape}: expected {most}")
    check_array("k", k, ("length", "kv_heads", head_dim), FLOAT32)
    length, kv_heads, _ = k.shape
    if kv_heads == 0 or heads % kv_heads:
        raise ValueError(f"k has {kv_heads} heads: expected a number that divides q's {heads}")
    if length < tokens:
        raise ValueError(f"k has {length} tokens: expected at least q's {tokens}")
    if length > longest(head_dim):
        raise ValueError(
            f"k has {length} tokens: expected at most {longest(head_dim)}, whose scores fit into shared memory"
        )
    check_array("v", v, k.shape, FLOAT32)


def attention(q: Any, k: Any, v: Any) -> Any:
    """Causal attention: the mean of V's rows up to the query's own, weighted by softmax(q · k / √head_dim).

    Args:
        q: [tokens, heads, head_dim] float32, on the device: the last `tokens` of `length` tokens, so query i stands at
            position length - tokens + i.
        k: [length, kv_heads, head_dim] float32. `kv_heads` divides `heads`: heads 0 to heads / kv_heads - 1 read KV head 0,
            as many after them KV head 1, and so on.
        v: like k.

    Returns:
        A new array, [tokens, heads, head_dim] float32. No number behind a query's own position has any influence on it, be
        it NaN.

    Raises:
        ValueError: see `check_arguments`.
    """
    check_arguments(q, k, v)
    raise NotImplementedError("day 14: launch the kernel with one block for each query and head")
