"""Matrix products on a GPU's tensor cores through cuBLAS, for float32 activations and bfloat16 weights."""

from __future__ import annotations

import ctypes
from typing import Any

# cuda/library_types.h and cublas_api.h
_BFLOAT16, _FLOAT32 = 14, 0
_COMPUTE_FLOAT32, _DEFAULT_ALGORITHM = 68, -1
_TRANSPOSED, _AS_IT_IS = 1, 0


PARTS = 3  # 8 bits each: all 24 of a float32


def times_transposed(x: Any, weight: Any, parts: int = PARTS) -> Any:
    """`x @ weight.T` with float32's accuracy.

    Tensor cores multiply bfloat16, which holds 8 bits of a float32's 24. So x is taken apart into bfloat16 numbers: the
    rounded value, what that leaves, and what is left then. Their products add up in float32. Each is a whole matrix
    product: two parts are a third quicker, and accurate to about 2⁻¹⁷ of each |x|·|weight|.

    Args:
        x: [tokens, in] float32, on the GPU.
        weight: [out, in] bfloat16, on the GPU.
        parts: 1 to 3.

    Returns:
        [tokens, out] float32.
    """
    import cupy

    out = cupy.empty((x.shape[0], weight.shape[0]), cupy.float32)
    rest = x
    for number in range(parts):
        part = rest.astype(weight.dtype)
        product_into(part, weight, out, add=number > 0)
        if number + 1 < parts:
            rest = rest - part.astype(x.dtype)
    return out


def product_into(x: Any, weight: Any, out: Any, add: bool = False) -> None:
    """`out = x @ weight.T`, or `out += x @ weight.T`.

    cuBLAS counts columns first, so it is told to compute the transposed product.

    Args:
        x: [tokens, in] bfloat16, on the GPU.
        weight: [out, in] bfloat16.
        out: [tokens, out] float32; so are all sums.
    """
    import cupy
    from cupy_backends.cuda.libs import cublas

    rows, width = weight.shape
    alpha, old = ctypes.c_float(1.0), ctypes.c_float(1.0 if add else 0.0)
    handle = cupy.cuda.device.get_cublas_handle()
    cublas.gemmEx(
        handle, _TRANSPOSED, _AS_IT_IS, rows, x.shape[0], width, ctypes.addressof(alpha),
        weight.data.ptr, _BFLOAT16, width, x.data.ptr, _BFLOAT16, width, ctypes.addressof(old),
        out.data.ptr, _FLOAT32, rows, _COMPUTE_FLOAT32, _DEFAULT_ALGORITHM,
    )  # fmt: skip
