"""Kernels one after the other: launched directly, or recorded once as a CUDA graph that the host starts with one call."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine import device


@dataclass(frozen=True)
class Launch:
    """One launch of one kernel: blocks, threads of a block, its arguments, bytes of dynamic shared memory."""

    kernel: Any
    grid: tuple[int, ...]
    threads: int
    arguments: tuple[Any, ...]
    shared_bytes: int = 0

    def __post_init__(self) -> None:
        if self.shared_bytes > 48 << 10:  # what every block can have without asking
            self.kernel.max_dynamic_shared_size_bytes = self.shared_bytes

    def run(self) -> None:
        """Launch it on the current stream."""
        self.kernel(self.grid, (self.threads,), self.arguments, shared_mem=self.shared_bytes)


def why_not_chained() -> str | None:
    """None where kernels can be recorded with programmatic dependent launch, else one sentence that says what is missing."""
    if device.name() == "cpu":
        return "the emulator runs kernels one after the other"
    import cupy

    if int(cupy.cuda.Device().compute_capability) < 90:
        return "programmatic dependent launch needs compute capability 9.0"
    try:
        import cuda.bindings.driver  # noqa: F401
    except ImportError:
        return "the package cuda-bindings is not installed (pip install -e '.[cuda13]', or '.[cuda12]' for CUDA 12)"
    return None


class Graph:
    """A sequence of launches, recorded once.

    On the CPU it is the sequence itself. On a GPU it is a CUDA graph: one call of the driver starts all of its kernels, with
    nothing of Python's between two of them; and where the GPU can, each kernel may start before the one before it has ended
    (see kernels/decode/chain.cuh).

    Args:
        launches: kernels that wait for the one before by themselves (`wait_for_previous`).
        stream: cupy's, on which it is recorded and run; None on the CPU.
        chained: False to let kernels start only when the one before has ended.
    """

    def __init__(self, launches: Sequence[Launch], stream: Any, chained: bool = True) -> None:
        self.launches = tuple(launches)
        self._stream, self._graph = stream, None
        if stream is None:
            return
        self.chained = chained and why_not_chained() is None
        with stream:
            stream.begin_capture()
            try:
                for launch in self.launches:
                    if self.chained:
                        _launch_chained(launch, stream)
                    else:
                        launch.run()
            finally:
                self._graph = stream.end_capture()

    def run(self) -> None:
        """Start it; on a GPU, without waiting for the end."""
        if self._graph is None:
            for launch in self.launches:
                launch.run()
        else:
            self._graph.launch(self._stream)


def _launch_chained(launch: Launch, stream: Any) -> None:
    """Launch a kernel that may start before the one before it has ended: `cuLaunchKernelEx` with the attribute for it."""
    from cuda.bindings import driver

    config = driver.CUlaunchConfig()
    config.gridDimX, config.gridDimY, config.gridDimZ = (*launch.grid, 1, 1)[:3]
    config.blockDimX, config.blockDimY, config.blockDimZ = launch.threads, 1, 1
    config.sharedMemBytes, config.hStream = launch.shared_bytes, driver.CUstream(stream.ptr)
    attribute, value = driver.CUlaunchAttribute(), driver.CUlaunchAttributeValue()
    attribute.id = driver.CUlaunchAttributeID.CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION
    value.programmaticStreamSerializationAllowed = 1
    attribute.value = value
    config.attrs, config.numAttrs = [attribute], 1
    values, types = zip(*map(_argument, launch.arguments), strict=True)
    (error,) = driver.cuLaunchKernelEx(config, driver.CUfunction(launch.kernel.kernel.ptr), (values, types), 0)
    if error != driver.CUresult.CUDA_SUCCESS:
        raise RuntimeError(f"cuLaunchKernelEx: {error.name}")


def _argument(given: Any) -> tuple[Any, Any]:
    """A kernel's argument as cuda.bindings takes it: the value and its ctypes type."""
    if isinstance(given, np.float32):
        return float(given), ctypes.c_float
    if isinstance(given, np.int32):
        return int(given), ctypes.c_int
    if isinstance(given, np.ndarray):  # the host's memory, pinned
        return given.ctypes.data, ctypes.c_void_p
    return given.data.ptr, ctypes.c_void_p


def make_stream() -> Any:
    """A stream of its own on a GPU, None on the CPU."""
    if device.name() == "cpu":
        return None
    import cupy

    return cupy.cuda.Stream(non_blocking=True)


@contextlib.contextmanager
def on(stream: Any) -> Iterator[None]:
    """Give what is launched inside to that stream."""
    with stream or contextlib.nullcontext():
        yield


def pinned_zeros(count: int) -> np.ndarray:
    """[count] int32 in memory of the host that a kernel can write to."""
    if device.name() == "cpu":
        return np.zeros(count, np.int32)
    import cupy

    memory = cupy.cuda.alloc_pinned_memory(4 * count)
    out = np.frombuffer(memory, np.int32, count)
    out[...] = 0
    return out
