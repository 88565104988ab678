"""What every operation refuses before it launches anything: arrays that its kernel would misread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np

FLOAT32 = np.dtype(np.float32)
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
INT32 = np.dtype(np.int32)


def check_array(name: str, array: Any, shape: Sequence[int | str], *dtypes: np.dtype) -> None:
    """Refuse an array of another shape, dtype or layout.

    Args:
        name: of the argument, for the message.
        shape: a number where the size is fixed, a word where it is free: `("tokens", 576)`.
        dtypes: that it may have.

    Raises:
        ValueError: names the argument, what it is and what was expected.
    """
    expected = "[" + ", ".join(map(str, shape)) + "]"
    if not hasattr(array, "shape") or not hasattr(array, "dtype"):
        raise ValueError(f"{name} is a {type(array).__name__}: expected an array {expected}")
    fits = len(array.shape) == len(shape) and all(
        isinstance(wanted, str) or size == wanted for size, wanted in zip(array.shape, shape, strict=True)
    )
    if not fits:
        raise ValueError(f"{name} has shape {array.shape}: expected {expected}")
    if np.dtype(array.dtype) not in dtypes:
        raise ValueError(f"{name} is {array.dtype}: expected {' or '.join(map(str, dtypes))}")
    if not array.flags.c_contiguous:
        raise ValueError(f"{name} has strides {array.strides}: expected a C-contiguous array, row after row")


def check_product(x: Any, weight: Any) -> None:
    """Refuse what `x @ weight.T` is not defined for.

    Args:
        x: [tokens, in] or [in], float32.
        weight: [out, in], bfloat16.

    Raises:
        ValueError: names the argument, what it is and what was expected.
    """
    check_array("x", x, ("tokens", "in")[2 - max(1, min(2, getattr(x, "ndim", 2))) :], FLOAT32)
    check_array("weight", weight, ("out", x.shape[-1]), BFLOAT16)
