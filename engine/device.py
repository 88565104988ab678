"""The device that everything runs on: a GPU through CuPy, or the CPU through the emulator.

`xp` is the array module (cupy or numpy) and `load_module` compiles a `.cu` file for the device at hand; its kernels
are called the same way on both: `kernel(grid, block, args, shared_mem=n)`. The choice is made once per process, at
the first use: `select("cuda")`, or the environment variable `WARP60_DEVICE`, or cuda where a GPU answers, else cpu.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from engine import cuda_headers, tracing

REPOSITORY = Path(__file__).resolve().parents[1]
KERNELS = REPOSITORY / "kernels"

_choice: str | None = None
_check: Any = False


class DeviceError(RuntimeError):
    """The device that was asked for cannot be used; the message says what is missing and how to get it."""


def select(name: str | None = None, *, check: Any = False) -> str:
    """Choose the device of this process and return its name, `cuda` or `cpu`.

    Args:
        name: `cuda`, `cpu`, or None for `WARP60_DEVICE` and then the best device that answers.
        check: on the CPU, build every kernel for the emulator's checker (True, or `emulator.Checks`).

    Raises:
        DeviceError: `cuda` was asked for and no GPU answers, or the name is unknown.
    """
    global _choice, _check
    wanted = name or os.environ.get("WARP60_DEVICE") or None
    if wanted not in (None, "cuda", "cpu"):
        raise DeviceError(f"unknown device {wanted!r}: expected 'cuda' or 'cpu' (from --device or WARP60_DEVICE)")
    if wanted != "cpu":
        reason = why_no_cuda()
        if reason is not None and wanted == "cuda":
            raise DeviceError(f"device 'cuda' cannot be used: {reason}")
        wanted = "cpu" if reason is not None else "cuda"
    _choice, _check = wanted, check
    return wanted


@functools.cache
def why_no_cuda() -> str | None:
    """None where CuPy can run a kernel on a GPU, else one sentence that says what is missing."""
    try:
        import cupy
    except ImportError:
        return "CuPy is not installed (with an NVIDIA GPU: pip install -e '.[cuda13]', or '.[cuda12]' for CUDA 12)"
    try:
        if cupy.cuda.runtime.getDeviceCount() == 0:
            return "CuPy finds no NVIDIA GPU"
        cupy.zeros(1)
    except Exception as error:  # CuPy raises different types for a missing driver, library or device
        return f"CuPy is installed but no GPU answers ({type(error).__name__}: {str(error).splitlines()[0]})"
    return None


def name() -> str:
    """Name of the device in use, `cuda` or `cpu`; chooses one if none was chosen yet."""
    return _choice or select()


def label() -> str:
    """The device as output should call it, such as `NVIDIA H200` or `cpu (emulated CUDA)`."""
    if name() == "cpu":
        return "cpu (emulated CUDA)"
    import cupy

    return cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode()


def array_module() -> ModuleType:
    """CuPy or NumPy; `device.xp` is the same thing, resolved at each use."""
    if name() == "cpu":
        return np
    import cupy

    return cupy


def __getattr__(attribute: str) -> Any:
    if attribute == "xp":
        return array_module()
    raise AttributeError(f"module {__name__!r} has no attribute {attribute!r}")


@functools.cache
def source_beside(module: str, name: str) -> Path:
    """The CUDA source that goes with a Python file: `kernel.cu` beside it, as in a lesson's folder, else `kernels/name`.

    An operation of the engine is also the solution of a lesson: the same file, in two places. It is looked for once, because
    every launch asks.

    Args:
        module: the Python file, `__file__`.
        name: of the engine's source.
    """
    beside = Path(module).with_name("kernel.cu")
    return beside if beside.is_file() else KERNELS / name


def load_module(path: str | Path, defines: Mapping[str, int | str] | None = None, *, cooperative: bool = False) -> Any:
    """Compile a `.cu` file for the device in use; the same arguments give the same module again.

    Args:
        path: the source; a relative path is taken from `kernels/`.
        defines: preprocessor definitions, `{"BLOCK": 256}` for `-DBLOCK=256`.
        cooperative: allow `grid.sync()` (a cooperative launch: all blocks run at the same time).

    Returns:
        `cupy.RawModule` or `emulator.RawModule`; both have `get_function(name)`.

    Raises:
        FileNotFoundError: there is no such file.
        DeviceError: no device can be used, or the source needs headers of CUDA that are not installed.
    """
    source = KERNELS / path
    try:
        stamp = source.stat().st_mtime_ns
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(f"{source}: no such CUDA source") from error
    flags = tuple(f"-D{key}={value}" for key, value in sorted((defines or {}).items()))
    return tracing.seen(_compile(source, stamp, flags, cooperative, name(), _check))


@functools.cache
def _compile(source: Path, stamp: int, flags: Sequence[str], cooperative: bool, device: str, check: Any) -> Any:
    """`load_module` behind its cache; `stamp` makes an edited file a different key."""
    options = ("-std=c++17", f"-I{source.parent}", f"-I{KERNELS}", *flags)
    if device == "cpu":
        import emulator

        return emulator.RawModule(path=str(source), options=options, enable_cooperative_groups=cooperative, check=check)
    import cupy

    text = source.read_text()
    if re.search(r"^\s*#\s*include\s*<mma\.h>", text, re.MULTILINE):
        major = cupy.cuda.nvrtc.getVersion()[0]
        folders = cuda_headers.folders(major)
        if not folders:
            raise DeviceError(f"{source.name} cannot be compiled: {cuda_headers.missing(major)}")
        options += tuple(f"-I{folder}" for folder in folders)
    return cupy.RawModule(code=text, options=options, backend="nvrtc", enable_cooperative_groups=cooperative)


def most_shared_bytes() -> int:
    """Bytes of shared memory that one block can have, where its kernel asks for more than the usual 48 KiB."""
    if name() == "cpu":
        from emulator.module import MAX_DYNAMIC_SHARED

        return MAX_DYNAMIC_SHARED
    return _most_shared_bytes_of_gpu()


@functools.cache
def _most_shared_bytes_of_gpu() -> int:
    """It takes CuPy a hundred questions to the driver, and attention asks before each launch."""
    import cupy

    return int(cupy.cuda.Device().attributes["MaxSharedMemoryPerBlockOptin"])


def to_device(array: np.ndarray) -> Any:
    """A copy of a NumPy array on the device."""
    return array_module().array(array)


def to_host(array: Any) -> np.ndarray:
    """The array as NumPy, after all the work that produces it."""
    return array if isinstance(array, np.ndarray) else array.get()


def synchronize() -> None:
    """Wait for all the work given to the device; on the CPU a launch has already ended when it returns."""
    if name() == "cuda":
        import cupy

        cupy.cuda.Device().synchronize()
