"""Kernels one after the other: launched directly, or recorded once as a CUDA graph that the host starts with one call."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Iterator, Sequence
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
        if device.name() == "cuda":
            self.kernel.kernel  # noqa: B018  (compiled and loaded now, not while a graph is recorded)

    def run(self) -> None:
        """Launch it on the current stream."""
        arguments = self.arguments
        if device.name() == "cuda":  # CuPy takes the host's memory, which must be pinned, by its address
            arguments = tuple(np.uint64(a.ctypes.data) if isinstance(a, np.ndarray) else a for a in arguments)
        self.kernel(self.grid, (self.threads,), arguments, shared_mem=self.shared_bytes)


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


def run_all(launches: Sequence[Launch], stream: Any = None, chained: bool = False) -> None:
    """Launch kernels one after the other.

    Args:
        stream: cupy's, which is recording; None on the CPU.
        chained: let each kernel start before the one before has ended. The kernels wait by themselves (`wait_for_previous` in
            kernels/decode/chain.cuh).
    """
    for launch in launches:
        if stream is not None and chained:
            _launch_chained(launch, stream)
        else:
            launch.run()


class Graph:
    """Work for the device, recorded once.

    On the CPU it is the work itself. On a GPU it is a CUDA graph: one call of the driver starts all of its kernels, with
    nothing of Python's between two of them.

    Args:
        work: what to record. It launches on the current stream, always the same, and waits for nothing.
        stream: cupy's, on which it is recorded and run; None on the CPU.
    """

    def __init__(self, work: Callable[[], None], stream: Any) -> None:
        self._work, self._stream, self._graph = work, stream, None
        if stream is None:
            return
        with stream:
            stream.begin_capture()
            try:
                work()
            finally:
                self._graph = stream.end_capture()

    def run(self) -> None:
        """Start it; on a GPU, without waiting for the end."""
        if self._graph is None:
            self._work()
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
