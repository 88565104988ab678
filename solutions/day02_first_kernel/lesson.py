"""Day 2: a first kernel, which widens bfloat16 to float32."""

from pathlib import Path
from typing import Any

import numpy as np

from engine import device
from engine.ops.arguments import BFLOAT16, FLOAT32, check_array

THREADS = 256  # of a block
MAX_ELEMENTS = np.iinfo(np.int32).max + 1 - THREADS  # the kernel's index is an int; the last block counts to its end


def kernel() -> Any:
    """The kernel in kernel.cu, called as `kernel()((blocks,), (threads,), (argument, argument, …))`."""
    return device.load_module(Path(__file__).with_name("kernel.cu")).get_function("widen")


def check_arguments(src: Any, dst: Any) -> None:
    """Refuse what the kernel would misread, or write where nothing is.

    Raises:
        ValueError: the message names the argument, what it is and what was expected.
    """
    check_array("src", src, ("n",), BFLOAT16)
    check_array("dst", dst, ("m",), FLOAT32)
    if src.shape[0] > MAX_ELEMENTS:
        raise ValueError(f"src has shape {src.shape}: expected at most {MAX_ELEMENTS} elements")
    if dst.shape[0] < src.shape[0]:
        raise ValueError(f"dst has shape {dst.shape}: expected at least [{src.shape[0]}], one for each element of src")


def widen(src: Any, dst: Any) -> None:
    """Write each element of src into dst, as float32: the same number, bit for bit the same NaN.

    Args:
        src: [n], bfloat16, on the device.
        dst: [m], float32, m at least n. Its first n elements are written, the others stay as they are.

    Raises:
        ValueError: see `check_arguments`.
    """
    check_arguments(src, dst)
    # solve: begin
    # stub: raise NotImplementedError("day 2: launch the kernel with a thread for each element of src")
    n = src.shape[0]
    if n > 0:  # a grid of no blocks is refused
        blocks = -(-n // THREADS)  # rounded up
        kernel()((blocks,), (THREADS,), (src, dst, np.int32(n)))
    # solve: end
