"""Matrix products on a GPU's tensor cores through cuBLAS, for float32 activations and bfloat16 weights."""

from __future__ import annotations

import ctypes
from typing import Any

# cuda/library_types.h and cublas_api.h
_BFLOAT16, _FLOAT32 = 14, 0
_COMPUTE_FLOAT32, _DEFAULT_ALGORITHM = 68, -1
_TRANSPOSED, _AS_IT_IS = 1, 0


def times_transposed(x: Any, weight: Any) -> Any:
    """`x @ weight.T`, accurate to about 2⁻¹⁷ of each |x|·|weight|.

    Tensor cores multiply bfloat16, which holds 8 bits of a float32's 24. So x is taken apart into two bfloat16 numbers, the
    rounded value and what that leaves: together 16 bits or more. Two products add up in float32.

    Args:
        x: [tokens, in] float32, on the GPU.
        weight: [out, in] bfloat16, on the GPU.

    Returns:
        [tokens, out] float32.
    """
    import cupy

    high = x.astype(weight.dtype)
    low = (x - high.astype(x.dtype)).astype(weight.dtype)
    out = cupy.empty((x.shape[0], weight.shape[0]), cupy.float32)
    _accumulate(high, weight, out, 0.0)
    _accumulate(low, weight, out, 1.0)
    return out


def _accumulate(x: Any, weight: Any, out: Any, beta: float) -> None:
    """`out = x @ weight.T + beta · out`; cuBLAS counts columns first, so it is told to compute the transposed product."""
    import cupy
    from cupy_backends.cuda.libs import cublas

    rows, width = weight.shape
    alpha, old = ctypes.c_float(1.0), ctypes.c_float(beta)
    handle = cupy.cuda.device.get_cublas_handle()
    cublas.gemmEx(
        handle, _TRANSPOSED, _AS_IT_IS, rows, x.shape[0], width, ctypes.addressof(alpha),
        weight.data.ptr, _BFLOAT16, width, x.data.ptr, _BFLOAT16, width, ctypes.addressof(old),
        out.data.ptr, _FLOAT32, rows, _COMPUTE_FLOAT32, _DEFAULT_ALGORITHM,
    )  # fmt: skip
