"""X times a transposed weight: the one operation that most of the time and nearly all bytes go to."""

from __future__ import annotations

from typing import Any

from engine import cublas, device, tracing
from engine.ops.arguments import check_product
from engine.ops.matmul import matmul
from engine.ops.matvec import matvec


def linear(x: Any, weight: Any) -> Any:
    """`x @ weight.T`.

    Args:
        x: [tokens, in] float32.
        weight: [out, in] bfloat16.

    Returns:
        [tokens, out] float32.

    Raises:
        ValueError: a shape, dtype or layout that does not fit.
    """
    if x.ndim != 2:
        raise ValueError(f"x has shape {x.shape}: expected [tokens, in]")
    if x.shape[0] == 1:
        return matvec(x[0], weight)[None]
    if device.name() == "cuda" and x.shape[0] > 0:
        check_product(x, weight)
        return tracing.launched("cublas", cublas.times_transposed, x, weight)
    return matmul(x, weight)
