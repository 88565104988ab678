"""Day 13: causal attention in three kernels, with all scores in device memory."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from engine import device
from engine.ops.arguments import FLOAT32, check_array

THREADS = 128  # of a block: four warps; the kernels are compiled for this number
MAX_TOKENS = 2**31 - THREADS  # the kernels' key index is an int, and steps past the last key
MAX_HEADS = 65535  # blocks that one grid can have along y


def kernel(name: str) -> Any:
    """A kernel of kernel.cu: `attention_scores`, `softmax_rows` or `weighted_sums`."""
    return device.load_module(Path(__file__).with_name("kernel.cu"), {"THREADS": THREADS}).get_function(name)


def check_arguments(q: Any, k: Any, v: Any) -> None:
    """Refuse what the kernels would misread.

    Raises:
        ValueError: the message names the argument, what it is and what was expected.
    """
    check_array("q", q, ("tokens", "heads", "head_dim"), FLOAT32)
    tokens, heads, head_dim = q.shape
    if tokens > MAX_TOKENS or not 1 <= heads <= MAX_HEADS or not 1 <= head_dim <= MAX_TOKENS:
        most = f"at most {MAX_TOKENS} tokens, 1 to {MAX_HEADS} heads and at least 1 column of a head"
        raise ValueError(f"q has shape {q.shape}: expected {most}")
    check_array("k", k, q.shape, FLOAT32)
    check_array("v", v, q.shape, FLOAT32)


def score_bytes(tokens: int, heads: int) -> int:
    """Bytes of the scores of all heads: what `causal_attention` takes in device memory beside its arguments and result."""
    raise NotImplementedError("day 13: a float32 for each head, query and key")


def causal_attention(q: Any, k: Any, v: Any) -> Any:
    """Causal attention: for each head, softmax(q · kᵀ / √head_dim) · v, where a query sees no key after its own.

    Args:
        q: [tokens, heads, head_dim] float32, on the device.
        k: like q.
        v: like q.

    Returns:
        A new array, like q. No number of a later token has any influence on an earlier row, be it NaN.

    Raises:
        ValueError: see `check_arguments`.
    """
    check_arguments(q, k, v)
    raise NotImplementedError("day 13: scores, softmax, weighted sums: three launches, a block for each query and head")


if __name__ == "__main__":
    for tokens in (512, 2048, 8192, 32768, 131072):
        print(f"{tokens:8,} tokens, 32 heads: {score_bytes(tokens, 32) / 2**20:12,.0f} MiB of scores")
