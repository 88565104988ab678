"""A CUDA device on the CPU: `RawModule` and `RawKernel` as CuPy has them, for NumPy arrays.

It knows nothing of this course and imports nothing from it.
"""

from emulator.errors import (
    CompileError,
    Diagnostic,
    EmulatorError,
    KernelCrash,
    KernelTimeout,
    LaunchError,
    NoCompilerError,
    Place,
)
from emulator.module import RawKernel, RawModule

__all__ = [
    "CompileError",
    "Diagnostic",
    "EmulatorError",
    "KernelCrash",
    "KernelTimeout",
    "LaunchError",
    "NoCompilerError",
    "Place",
    "RawKernel",
    "RawModule",
]
