"""Matrix products on a GPU's tensor cores through cuBLAS, for float32 activations and 16-bit weights.

cuBLAS is called here and not through CuPy, which refuses to record it in a CUDA graph (CuPy issue 6290).
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

# cuda/library_types.h and cublas_api.h
TYPES = {"bfloat16": 14, "float16": 2}
FLOAT32 = 0
COMPUTE_FLOAT32, _DEFAULT_ALGORITHM = 68, -1
TRANSPOSED, _AS_IT_IS = 1, 0
_SUCCESS = 0
WORKSPACE_BYTES = 64 << 20  # taken once: inside a graph, cuBLAS may not take memory of its own


class CublasError(RuntimeError):
    """cuBLAS cannot be loaded, or refuses a call; the message says which."""


class Library:
    """A library of cuBLAS, whose functions return a status.

    Args:
        name: `cublas` or `cublasLt`.

    Raises:
        CublasError: it is not found, or cannot be loaded.
    """

    def __init__(self, name: str) -> None:
        try:
            from cuda.pathfinder import load_nvidia_dynamic_lib

            self._library = ctypes.CDLL(load_nvidia_dynamic_lib(name).abs_path)
        except (ImportError, OSError, RuntimeError) as error:
            raise CublasError(f"{name} cannot be loaded: {error}") from error

    def check(self, name: str, *arguments: Any) -> None:
        """Call a function.

        Raises:
            CublasError: it did not succeed.
        """
        status = getattr(self._library, name)(*arguments)
        if status != _SUCCESS:
            raise CublasError(f"{name} ended with status {status} (cublasStatus_t in cublas_api.h)")

    def created(self, name: str, *arguments: Any) -> ctypes.c_void_p:
        """What a function creates and gives back in its first argument."""
        out = ctypes.c_void_p()
        self.check(name, ctypes.byref(out), *arguments)
        return out


@functools.cache
def workspace() -> Any:
    """Memory of products that are cut along their columns. Products of one stream share it."""
    import cupy

    return cupy.empty(WORKSPACE_BYTES, "uint8")


class _Cublas(Library):
    """The library, and one handle."""

    def __init__(self) -> None:
        super().__init__("cublas")
        self.handle = self.created("cublasCreate_v2")

    def on_current_stream(self) -> ctypes.c_void_p:
        """The handle, set to CuPy's current stream; a change of stream drops the workspace, so it is given again."""
        self.check("cublasSetStream_v2", self.handle, current_stream())
        memory = ctypes.c_void_p(workspace().data.ptr)
        self.check("cublasSetWorkspace_v2", self.handle, memory, ctypes.c_size_t(WORKSPACE_BYTES))
        return self.handle


def current_stream() -> ctypes.c_void_p:
    """CuPy's."""
    import cupy

    return ctypes.c_void_p(cupy.cuda.get_current_stream().ptr)


@functools.cache
def _cublas() -> _Cublas:
    return _Cublas()


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
        x: [tokens, in] bfloat16 or float16, on the GPU.
        weight: [out, in], alike.
        out: [tokens, out] float32; so are all sums.

    Raises:
        CublasError: cuBLAS refuses.
    """
    rows, width = weight.shape
    kind = TYPES[weight.dtype.name]
    one, old = ctypes.c_float(1.0), ctypes.c_float(1.0 if add else 0.0)
    cublas = _cublas()
    address = ctypes.c_void_p
    cublas.check(
        "cublasGemmEx", cublas.on_current_stream(), TRANSPOSED, _AS_IT_IS, rows, x.shape[0], width, ctypes.byref(one),
        address(weight.data.ptr), kind, width, address(x.data.ptr), kind, width, ctypes.byref(old),
        address(out.data.ptr), FLOAT32, rows, COMPUTE_FLOAT32, _DEFAULT_ALGORITHM,
    )  # fmt: skip
