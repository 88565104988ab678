"""Day 8: matrix times vector, one warp for each row."""

from typing import Any

import numpy as np

from engine import device
from engine.ops.arguments import FLOAT32, check_array, check_product

THREADS = 256  # of a block: eight warps, so eight rows; the kernel is compiled for this number
ROWS_PER_BLOCK = THREADS // 32
MOST = 2**31 - 8 * THREADS  # rows and columns: the kernel counts both in an int, and steps past the last


def matvec_kernel() -> Any:
    """The kernel in kernel.cu."""
    return device.load_module(device.source_beside(__file__, "matvec.cu"), {"THREADS": THREADS}).get_function("matvec")


def check_arguments(x: Any, weight: Any) -> None:
    """Refuse what the kernel would misread.

    Raises:
        ValueError: the message names the argument, what it is and what was expected.
    """
    check_array("x", x, ("in",), FLOAT32)
    check_product(x, weight)
    if max(weight.shape) > MOST:
        raise ValueError(f"weight has shape {weight.shape}: expected at most {MOST} rows and columns")


def matvec(x: Any, weight: Any) -> Any:
    """`weight @ x`: one number for each row of the weight.

    Args:
        x: [in], float32, on the device.
        weight: [out, in], bfloat16, row after row. Any sizes, 0 included.

    Returns:
        A new array, [out], float32. All arithmetic is float32.

    Raises:
        ValueError: see `check_arguments`.
    """
    check_arguments(x, weight)
    raise NotImplementedError("day 8: launch the kernel with one warp for each row of the weight")
