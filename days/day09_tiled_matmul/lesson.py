"""Day 9: matrix times transposed matrix, by tiles in shared memory."""

from typing import Any

import numpy as np

from engine import device
from engine.ops.arguments import FLOAT32, check_array, check_product

TILE = 32  # a block's part of the result is TILE by TILE: `TILE` in kernel.cu
STEP = 4  # warps of a block: `STEP` in kernel.cu
MOST = 2**31 - 2 * TILE  # rows of the weight and columns: the kernel counts them in an int, and steps past the last
MOST_TOKENS = 65535 * TILE  # tiles that a grid can have along y


def matmul_kernel() -> Any:
    """The kernel in kernel.cu."""
    return device.load_module(device.source_beside(__file__, "matmul.cu")).get_function("matmul")


def check_arguments(x: Any, weight: Any) -> None:
    """Refuse what the kernel would misread.

    Raises:
        ValueError: the message names the argument, what it is and what was expected.
    """
    check_array("x", x, ("tokens", "in"), FLOAT32)
    check_product(x, weight)
    if x.shape[0] > MOST_TOKENS:
        raise ValueError(f"x has shape {x.shape}: expected at most {MOST_TOKENS} tokens")
    if max(weight.shape) > MOST:
        raise ValueError(f"weight has shape {weight.shape}: expected at most {MOST} rows and columns")


def matmul(x: Any, weight: Any) -> Any:
    """`x @ weight.T`: each token times each row of the weight.

    Args:
        x: [tokens, in], float32, on the device.
        weight: [out, in], bfloat16, row after row. Any sizes, 0 included.

    Returns:
        A new array, [tokens, out], float32. All arithmetic is float32.

    Raises:
        ValueError: see `check_arguments`.
    """
    check_arguments(x, weight)
    raise NotImplementedError("day 9: launch the kernel with one block for each tile of the result")
