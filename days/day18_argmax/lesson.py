"""Day 18: argmax, several blocks for each row."""

from typing import Any

import numpy as np

from engine import device
from engine.ops.arguments import FLOAT32, check_array

THREADS = 256  # of a block: eight warps; the kernels are compiled for this number
PART = 1024  # columns that one block takes: 126 blocks for the 128,256 logits of Llama 3.2
MAX_ROWS = 65535  # blocks that one grid can have along y
MAX_VOCAB = np.iinfo(np.int32).max + 1 - PART  # the kernel's column index is an int, and reaches the end of a part


def argmax_kernel(name: str) -> Any:
    """A kernel in kernel.cu: `argmax_parts` or `argmax_merge`."""
    source = device.source_beside(__file__, "argmax.cu")
    return device.load_module(source, {"THREADS": THREADS, "PART": PART}).get_function(name)


def check_arguments(logits: Any) -> None:
    """Refuse what the kernels would misread. The numbers themselves are not looked at: they are on the device.

    Raises:
        ValueError: the message names the argument, what it is and what was expected.
    """
    check_array("logits", logits, ("rows", "vocab"), FLOAT32)
    if not 1 <= logits.shape[1] <= MAX_VOCAB or logits.shape[0] > MAX_ROWS:
        expected = f"at most {MAX_ROWS} rows, and 1 to {MAX_VOCAB} columns"
        raise ValueError(f"logits has shape {logits.shape}: expected {expected}")


def largest_indices(logits: Any) -> Any:
    """The index of each row's largest number, without a look at the result: the host does not wait for the device.

    Args:
        logits: [rows, vocab] float32, on the device.

    Returns:
        A new array, [rows] int32. Of equal numbers the lowest index, and -0 equals 0; 0 for a row of -inf alone; -1 for a row
        with a NaN.

    Raises:
        ValueError: see `check_arguments`.
    """
    check_arguments(logits)
    raise NotImplementedError("day 18: launch argmax_parts with one block for each part, then argmax_merge")


def argmax(logits: Any) -> Any:
    """The token that each row of logits puts first.

    Args:
        logits: [rows, vocab] float32, on the device.

    Returns:
        A new array, [rows] int32: see `largest_indices`.

    Raises:
        ValueError: a row has a NaN; the message names `logits` and the first such row, as `row 3`. Or see `check_arguments`.
    """
    raise NotImplementedError("day 18: refuse rows with a NaN, by what largest_indices says")
