"""Day 11: rotary position embedding, one block for each token."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from engine import device
from engine.config import RopeScaling
from engine.ops.arguments import FLOAT32, INT32, check_array

THREADS = 256  # of a block: eight warps; the kernel is compiled for this number
MAX_TOKENS = np.iinfo(np.int32).max  # blocks that one grid can have along x
MAX_NUMBERS = (
    MAX_TOKENS + 1 - THREADS
)  # of a token: the kernel's index is an int, and steps by THREADS past the last pair
MAX_HEAD_DIM = 12288  # its sines and cosines fill the 48 KiB of shared memory that every block can have
LLAMA3_FIELDS = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")


def llama3_numbers(scaling: Mapping[str, Any] | RopeScaling | None) -> list[np.float32] | None:
    """What `llama3` scaling is made of: the numbers of `LLAMA3_FIELDS`, in their order. None for no scaling.

    Raises:
        ValueError: the message names the field, what it is and what was expected.
    """
    if scaling is None:
        return None
    if isinstance(scaling, RopeScaling):
        scaling = {"rope_type": "llama3", **dataclasses.asdict(scaling)}
    kind = scaling.get("rope_type", scaling.get("type"))  # older files say `type`
    if kind not in ("default", "llama3"):
        raise ValueError(f"scaling: rope_type is {kind!r}: expected 'default' or 'llama3'")
    if kind == "default":
        return None
    for field in LLAMA3_FIELDS:
        value = scaling.get(field)
        if not isinstance(value, int | float) or not 0 < value < np.inf:
            raise ValueError(f"scaling: {field} is {value!r}: expected a positive number")
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    if not low < high:
        raise ValueError(f"scaling: low_freq_factor is {low}: expected less than high_freq_factor, {high}")
    return [np.float32(scaling[field]) for field in LLAMA3_FIELDS]


def inverse_frequencies(
    head_dim: int, theta: float, scaling: Mapping[str, Any] | RopeScaling | None = None
) -> np.ndarray:
    """How many radians each pair of a head turns from one position to the next.

    Args:
        head_dim: numbers in a head, an even number.
        theta: the base, `rope_theta` in config.json; above 1.
        scaling: `rope_scaling` in config.json: None, or `rope_type` "default", for none; "llama3" with `factor`,
            `low_freq_factor`, `high_freq_factor` and `original_max_position_embeddings`.

    Returns:
        [head_dim / 2] float32, on the host. Pair i turns by theta^(-2i / head_dim). With "llama3", a pair that makes no more
        than `low_freq_factor` turns in the original context turns `factor` times as slowly; one that makes at least
        `high_freq_factor` turns is kept; in between the two frequencies are blended, linearly in the number of turns.

    Raises:
        ValueError: the message names the argument or the field, what it is and what was expected.
    """
    if head_dim < 2 or head_dim % 2:
        raise ValueError(f"head_dim is {head_dim}: expected an even number from 2 up, two for each pair")
    if not 1 < theta < np.inf:
        raise ValueError(f"theta is {theta}: expected a finite number above 1")
    llama3 = llama3_numbers(scaling)
    raise NotImplementedError(f"day 11: compute the frequency of each pair; llama3 scaling: {llama3}")


def check_arguments(x: Any, positions: Any, frequencies: Any) -> None:
    """Refuse what the kernel would misread.

    Raises:
        ValueError: the message names the argument, what it is and what was expected.
    """
    check_array("x", x, ("tokens", "heads", "head_dim"), FLOAT32)
    tokens, heads, head_dim = x.shape
    if head_dim % 2 or not 2 <= head_dim <= MAX_HEAD_DIM:
        raise ValueError(f"x has shape {x.shape}: expected an even head_dim from 2 to {MAX_HEAD_DIM}")
    if tokens > MAX_TOKENS or heads * head_dim > MAX_NUMBERS:
        raise ValueError(f"x has shape {x.shape}: expected at most {MAX_TOKENS} tokens of {MAX_NUMBERS} numbers")
    check_array("positions", positions, (tokens,), INT32)
    check_array("frequencies", frequencies, (head_dim // 2,), FLOAT32)


def rope(x: Any, positions: Any, frequencies: Any) -> Any:
    """Turn each pair of each head by its token's position.

    Args:
        x: [tokens, heads, head_dim] float32, on the device: queries or keys.
        positions: [tokens] int32, from 0 to 2^24, in any order.
        frequencies: [head_dim / 2] float32, radians a position.

    Returns:
        A new array, [tokens, heads, head_dim] float32. In each head, numbers i and i + head_dim / 2 are a pair, turned by the
        angle position · frequency[i], which is rounded to float32.

    Raises:
        ValueError: see `check_arguments`.
    """
    check_arguments(x, positions, frequencies)
    raise NotImplementedError("day 11: launch the kernel with one block for each token")
