"""Day 6: reductions, one block for each row."""

from pathlib import Path
from typing import Any

import numpy as np

from engine import device
from engine.ops.arguments import FLOAT32, check_array

THREADS = 256  # of a block: eight warps; the kernels are compiled for this number
MAX_ROWS = np.iinfo(np.int32).max  # blocks that one grid can have along x
MAX_COLUMNS = MAX_ROWS + 1 - THREADS  # the kernels' column index is an int, and steps by THREADS past the last column


def kernel(name: str) -> Any:
    """A kernel of kernel.cu: `row_sum_tree`, `row_sum` or `row_max`."""
    return device.load_module(Path(__file__).with_name("kernel.cu"), {"THREADS": THREADS}).get_function(name)


def check_arguments(x: Any) -> None:
    """Refuse what the kernels would misread.

    Raises:
        ValueError: the message names the argument, what it is and what was expected.
    """
    check_array("x", x, ("rows", "n"), FLOAT32)
    if x.shape[1] == 0:
        raise ValueError(f"x has shape {x.shape}: expected [rows, n] with n of at least 1")
    if x.shape[0] > MAX_ROWS or x.shape[1] > MAX_COLUMNS:
        raise ValueError(f"x has shape {x.shape}: expected at most {MAX_ROWS} rows and {MAX_COLUMNS} columns")


def reduce_rows(name: str, x: Any) -> Any:
    """One number for each row of x, by the kernel of that name.

    Args:
        name: `row_sum_tree`, `row_sum` or `row_max`.
        x: [rows, n], float32, on the device.

    Returns:
        A new array of `device.xp` (NumPy in the emulator, CuPy on a GPU), [rows], float32.

    Raises:
        ValueError: see `check_arguments`.
    """
    check_arguments(x)
    raise NotImplementedError("day 6: launch the kernel with one block for each row of x")


def row_sum_tree(x: Any) -> Any:
    """The sum of each row, by a tree in shared memory: see `reduce_rows`."""
    return reduce_rows("row_sum_tree", x)


def row_sum(x: Any) -> Any:
    """The sum of each row, by shuffles: see `reduce_rows`. All sums of a row's parts must fit a float32 (3.4e38)."""
    return reduce_rows("row_sum", x)


def row_max(x: Any) -> Any:
    """The largest element of each row, by shuffles: see `reduce_rows`. NaN where the row has one."""
    return reduce_rows("row_max", x)


# ---- for the grading ------------------------------------------------------------------------------------------------


def sum_of_each_thread(x: Any) -> Any:
    """The sum of x, [1, THREADS], as every thread of the block gets it: [2, THREADS], by the tree and by shuffles."""
    out = device.xp.empty((2, THREADS), np.float32)
    kernel("sum_of_each_thread")((1,), (THREADS,), (x, out))
    return out
