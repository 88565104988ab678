"""Day 20: attention of one query against the cache, one block for each KV head."""

import math
from typing import Any

import numpy as np

from engine import device
from engine.ops.arguments import FLOAT32, check_array

THREADS = 512  # of a block: sixteen warps; the kernel is compiled for this number
MAX_HEAD_DIM = 256
MAX_GROUP = 32  # heads that share a KV head: their queries lie in registers


def columns_of_a_lane(head_dim: int) -> int:
    """How many columns of a head each of 32 lanes takes; the kernel is compiled for this number too."""
    return -(-head_dim // 32)


def shared_floats(length: int, group: int, head_dim: int) -> int:
    """Floats of shared memory that a launch asks for: a weight for each key and head, and the warps' shares."""
    return group * length + THREADS // 32 * group * 32 * columns_of_a_lane(head_dim)


def longest(group: int, head_dim: int) -> int:
    """Keys that fit into a block's shared memory beside the kernel's other arrays, on the device in use; 0 for none."""
    others = shared_floats(0, group, head_dim) + 2 * THREADS // 32 * group
    return max(0, (device.most_shared_bytes() // 4 - others) // group)


def decode_kernel(group: int, head_dim: int) -> Any:
    """The kernel in kernel.cu. As compiled, it may ask for 48 KiB of dynamic shared memory."""
    source = device.source_beside(__file__, "decode_attention.cu")
    sizes = {"COLUMNS": columns_of_a_lane(head_dim), "GROUP": group, "THREADS": THREADS}
    return device.load_module(source, sizes).get_function("decode_attention")


def check_arguments(q: Any, k: Any, v: Any, length: int) -> None:
    """Refuse what the kernel would misread, or has no room for.

    Raises:
        ValueError: the message names the argument, what it is and what was expected.
    """
    check_array("q", q, ("heads", "head_dim"), FLOAT32)
    heads, head_dim = q.shape
    if heads == 0 or not 1 <= head_dim <= MAX_HEAD_DIM:
        raise ValueError(f"q has shape {q.shape}: expected at least 1 head of 1 to {MAX_HEAD_DIM} columns")
    check_array("k", k, ("capacity", "kv_heads", head_dim), FLOAT32)
    capacity, kv_heads, _ = k.shape
    if kv_heads == 0 or heads % kv_heads or heads // kv_heads > MAX_GROUP:
        raise ValueError(
            f"k has {kv_heads} heads: expected a number that divides q's {heads}, for groups of at most {MAX_GROUP}"
        )
    check_array("v", v, k.shape, FLOAT32)
    if not isinstance(length, int | np.integer) or not 1 <= length <= capacity:
        raise ValueError(f"length is {length!r}: expected a whole number from 1 to {capacity}, k's capacity")
    most = longest(heads // kv_heads, head_dim)
    if length > most:
        raise ValueError(f"length is {length}: expected at most {most} keys, whose scores fit into shared memory")


def decode_attention(q: Any, k: Any, v: Any, length: int) -> Any:
    """Attention of the newest token: the mean of V's rows, weighted by softmax(q · k / √head_dim).

    Args:
        q: [heads, head_dim] float32, on the device. It stands at position length - 1 and sees all keys up to its own.
        k: [capacity, kv_heads, head_dim] float32: a cache, or a view of one. `kv_heads` divides `heads`, and heads side by side
            share a KV head, as on day 14.
        v: like k.
        length: rows of k and v that count, from 1 to capacity. No number behind them has any influence, be it NaN.

    Returns:
        A new array, [heads, head_dim] float32.

    Raises:
        ValueError: see `check_arguments`.
    """
    check_arguments(q, k, v, length)
    raise NotImplementedError("day 20: launch the kernel with one block for each KV head")
