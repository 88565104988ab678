"""Day 7: RMSNorm, one block for each row."""

from typing import Any

import ml_dtypes
import numpy as np

from engine import device

THREADS = 256  # of a block: eight warps; the kernel is compiled for this number
MAX_ROWS = 2**31 - 1  # blocks that one grid can have along x
MAX_HIDDEN = 2**31 - THREADS  # the kernel's column index is an int, and steps by THREADS past the last column
ELEMENTS = {np.dtype(np.float32): "float", np.dtype(ml_dtypes.bfloat16): "__nv_bfloat16"}


def rmsnorm_kernel(dtype: np.dtype) -> Any:
    """The kernel in kernel.cu, compiled for rows of that dtype."""
    source = device.source_beside(__file__, "rmsnorm.cu")
    return device.load_module(source, {"ELEMENT": ELEMENTS[dtype], "THREADS": THREADS}).get_function("rmsnorm")


def check_arguments(x: Any, weight: Any) -> None:
    """Refuse what the kernel would misread.

    Raises:
        ValueError: the message names the argument, what it is and what was expected.
    """
    if x.ndim != 2 or x.shape[1] == 0:
        raise ValueError(f"x has shape {x.shape}: expected [rows, hidden] with hidden of at least 1")
    if x.shape[0] > MAX_ROWS or x.shape[1] > MAX_HIDDEN:
        raise ValueError(f"x has shape {x.shape}: expected at most {MAX_ROWS} rows and {MAX_HIDDEN} columns")
    if np.dtype(x.dtype) not in ELEMENTS:
        raise ValueError(f"x is {x.dtype}: expected float32 or bfloat16")
    if weight.shape != (x.shape[1],):
        raise ValueError(f"weight has shape {weight.shape}: expected [{x.shape[1]}], one for each column of x")
    if weight.dtype != x.dtype:
        raise ValueError(f"weight is {weight.dtype}: expected {x.dtype}, as x is")
    for name, array in (("x", x), ("weight", weight)):
        if not array.flags.c_contiguous:
            raise ValueError(f"{name} has strides {array.strides}: expected a C-contiguous array, row after row")


def rmsnorm(x: Any, weight: Any, eps: float) -> Any:
    """Scale each row to a root mean square of 1, then each column by its weight.

    Args:
        x: [rows, hidden], float32 or bfloat16, on the device. The sum of a row's squares must fit a float32 (3.4e38).
        weight: [hidden], same dtype.
        eps: added to the mean square, so that a row of zeros stays zeros.

    Returns:
        A new `device.xp` array, shape and dtype as x. All arithmetic is float32; a bfloat16 result is rounded once, at the end.

    Raises:
        ValueError: see `check_arguments`.
    """
    check_arguments(x, weight)
    # solve: begin
    # stub: raise NotImplementedError("day 7: launch the kernel with one block for each row of x")
    rows, hidden = x.shape
    out = device.xp.empty_like(x)
    if rows > 0:  # a grid of no blocks is refused
        kernel = rmsnorm_kernel(x.dtype)
        kernel((rows,), (THREADS,), (x, weight, out, np.int32(hidden), np.float32(eps)))
    return out
    # solve: end
