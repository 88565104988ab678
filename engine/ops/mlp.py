"""Day 15: SwiGLU, four elements a thread, and the MLP around it."""

from typing import Any

import numpy as np

from engine import device
from engine.ops.arguments import BFLOAT16, FLOAT32, check_array
from engine.ops.linear import linear

THREADS = 256  # of a block: eight warps; the kernel is compiled for this number
WIDTH = 4  # elements that a thread takes: 16 bytes
MAX_ELEMENTS = np.iinfo(np.int32).max * THREADS * WIDTH  # of one launch: a grid can have so many blocks along x


def swiglu_kernel() -> Any:
    """The kernel in kernel.cu."""
    source = device.source_beside(__file__, "swiglu.cu")
    return device.load_module(source, {"THREADS": THREADS}).get_function("swiglu")


def address(array: Any) -> int:
    """Where an array's first element lies, on either device."""
    interface = getattr(array, "__cuda_array_interface__", None) or array.__array_interface__
    return int(interface["data"][0])


def check_swiglu(gate: Any, up: Any) -> None:
    """Refuse what the kernel would misread.

    Raises:
        ValueError: the message names the argument, what it is and what was expected.
    """
    check_array("gate", gate, ("tokens", "intermediate"), FLOAT32)
    check_array("up", up, gate.shape, FLOAT32)
    if gate.size > MAX_ELEMENTS:
        raise ValueError(f"gate has shape {gate.shape}: expected at most {MAX_ELEMENTS} elements")
    for name, array in (("gate", gate), ("up", up)):
        if array.size > 0 and address(array) % 16 != 0:
            raise ValueError(
                f"{name} lies at {address(array):#x}: expected a multiple of 16 bytes, not a part of an array"
            )


def swiglu(gate: Any, up: Any) -> Any:
    """silu(gate) · up, with silu(g) = g / (1 + exp(-g)).

    Args:
        gate: [tokens, intermediate] float32, on the device.
        up: the same shape.

    Returns:
        A new array, [tokens, intermediate] float32. A gate of -inf gives NaN, as the formula does.

    Raises:
        ValueError: see `check_swiglu`.
    """
    check_swiglu(gate, up)
    # solve: begin
    # stub: raise NotImplementedError("day 15: launch the kernel with a thread for every four elements")
    out = device.xp.empty_like(gate)
    blocks = -(-out.size // (THREADS * WIDTH))
    if blocks > 0:  # a grid of no blocks is refused
        swiglu_kernel()((blocks,), (THREADS,), (gate, up, out, np.int64(out.size)))
    return out
    # solve: end


def mlp(x: Any, w_gate: Any, w_up: Any, w_down: Any) -> Any:
    """What each token makes of itself: widened twice, gated, narrowed again.

    Args:
        x: [tokens, hidden] float32, on the device.
        w_gate: [intermediate, hidden] bfloat16.
        w_up: [intermediate, hidden] bfloat16.
        w_down: [hidden, intermediate] bfloat16.

    Returns:
        [tokens, hidden] float32, without the residual.

    Raises:
        ValueError: the message names the argument, what it is and what was expected.
    """
    check_array("x", x, ("tokens", "hidden"), FLOAT32)
    check_array("w_gate", w_gate, ("intermediate", x.shape[1]), BFLOAT16)
    check_array("w_up", w_up, w_gate.shape, BFLOAT16)
    check_array("w_down", w_down, w_gate.shape[::-1], BFLOAT16)
    # solve: begin
    # stub: raise NotImplementedError("day 15: two products, swiglu, one product")
    return linear(swiglu(linear(x, w_gate), linear(x, w_up)), w_down)
    # solve: end
