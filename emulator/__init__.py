"""A CUDA device on the CPU: `RawModule` and `RawKernel` as CuPy has them, for NumPy arrays.

It knows nothing of this course and imports nothing from it.
"""

from emulator import findings
from emulator.check import Checks
from emulator.costs import Costs, LineCost
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
from emulator.findings import CheckError, Finding
from emulator.module import RawKernel, RawModule

__all__ = [
    "CheckError",
    "Checks",
    "CompileError",
    "Costs",
    "Diagnostic",
    "EmulatorError",
    "Finding",
    "KernelCrash",
    "KernelTimeout",
    "LaunchError",
    "LineCost",
    "NoCompilerError",
    "Place",
    "RawKernel",
    "RawModule",
    "findings",
]
