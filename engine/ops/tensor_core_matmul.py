"""Day 10: matrix times transposed matrix, on tensor cores."""

from typing import Any

import numpy as np

from engine import device
from engine.ops.arguments import BFLOAT16, check_array

TILE = 64  # a block's part of the result is TILE by TILE: `TILE` in kernel.cu
THREADS = 128  # of a block: `THREADS` in kernel.cu
MOST = 2**31 - 2 * TILE  # rows of the weight and columns: the kernel counts them in an int, and steps past the last
MOST_TOKENS = 65535 * TILE  # tiles that a grid can have along y


def tensor_core_matmul_kernel() -> Any:
    """The kernel in kernel.cu."""
    source = device.source_beside(__file__, "tensor_core_matmul.cu")
    return device.load_module(source).get_function("tensor_core_matmul")


def check_arguments(x: Any, weight: Any) -> None:
    """Refuse what the kernel would misread.

    Raises:
        ValueError: the message names the argument, what it is and what was expected.
    """
    check_array("x", x, ("tokens", "in"), BFLOAT16)
    check_array("weight", weight, ("out", x.shape[1]), BFLOAT16)
    if x.shape[0] > MOST_TOKENS:
        raise ValueError(f"x has shape {x.shape}: expected at most {MOST_TOKENS} tokens")
    if max(weight.shape) > MOST:
        raise ValueError(f"weight has shape {weight.shape}: expected at most {MOST} rows and columns")


def tensor_core_matmul(x: Any, weight: Any) -> Any:
    """`x @ weight.T`: each token times each row of the weight.

    Args:
        x: [tokens, in], bfloat16, on the device.
        weight: [out, in], bfloat16, row after row. Any sizes, 0 included.

    Returns:
        A new array, [tokens, out], float32. Products are exact, sums are float32.

    Raises:
        ValueError: see `check_arguments`.
    """
    check_arguments(x, weight)
    # solve: begin
    # stub: raise NotImplementedError("day 10: launch the kernel with one block for each tile of the result")
    (tokens, columns), rows = x.shape, len(weight)
    out = device.xp.empty((tokens, rows), np.float32)
    if out.size > 0:  # a grid of no blocks is refused
        grid = -(-rows // TILE), -(-tokens // TILE)
        sizes = np.int32(tokens), np.int32(rows), np.int32(columns)
        tensor_core_matmul_kernel()(grid, (THREADS,), (x, weight, out, *sizes))
    return out
    # solve: end
