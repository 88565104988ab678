"""Day 12: softmax, one block for each row."""

from typing import Any

import numpy as np

from engine import device
from engine.ops.arguments import FLOAT32, check_array

THREADS = 256  # of a block: eight warps; the kernel is compiled for this number
MAX_ROWS = np.iinfo(np.int32).max  # blocks that one grid can have along x
MAX_COLUMNS = MAX_ROWS + 1 - THREADS  # the kernel's column index is an int, and steps by THREADS past the last column


def softmax_kernel() -> Any:
    """The kernel in kernel.cu."""
    source = device.source_beside(__file__, "softmax.cu")
    return device.load_module(source, {"THREADS": THREADS}).get_function("softmax")


def check_arguments(x: Any) -> None:
    """Refuse what the kernel would misread.

    Raises:
        ValueError: the message names the argument, what it is and what was expected.
    """
    check_array("x", x, ("rows", "n"), FLOAT32)
    if not 1 <= x.shape[1] <= MAX_COLUMNS or x.shape[0] > MAX_ROWS:
        raise ValueError(f"x has shape {x.shape}: expected at most {MAX_ROWS} rows, and 1 to {MAX_COLUMNS} columns")


def softmax(x: Any) -> Any:
    """The weights that a row of scores gives: positive, larger for a larger score, 1 together.

    Args:
        x: [rows, n] float32, on the device. -inf masks an element: its weight is 0.

    Returns:
        A new array, [rows, n] float32. A row of -inf alone gives zeros. A row with NaN or +inf gives NaN everywhere: such
        scores are a fault from before, and the formula has no value for them.

    Raises:
        ValueError: see `check_arguments`.
    """
    check_arguments(x)
    raise NotImplementedError("day 12: launch the kernel with one block for each row of x")
