"""Launches kernels of the corpus through CuPy, for NVIDIA's tools to watch: `run_case.py NAME [NAME …]`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import cupy
import numpy as np

from tests.emulator.loader import CORPUS, Case, load_case


def on_gpu(case: Case) -> list[Any]:
    """The case's arguments on the GPU, each array in an allocation of its own and exactly as large as it is.

    Where the emulator gets a slice of a larger array, the GPU gets one too. Nothing is written into the outputs, so that
    initcheck sees which elements the kernel leaves out.
    """
    out: list[Any] = []
    allocations: dict[int, cupy.ndarray] = {}  # one for arguments that are the same array
    for argument, value in zip(case.arguments, case.make_arguments(), strict=True):
        if not isinstance(value, np.ndarray):
            out.append(value)
            continue
        whole = value if value.base is None else value.base  # NumPy's base is the array that owns the memory
        if id(whole) not in allocations:
            allocations[id(whole)] = cupy.empty(whole.nbytes, np.uint8)
            if argument.name not in case.outputs:
                allocations[id(whole)].set(whole.reshape(-1).view(np.uint8))
        out.append(allocations[id(whole)][: value.nbytes])
    return out


def main() -> None:
    """Launch each named case once, in order, and copy its outputs back."""
    toolkit = Path(os.environ.get("CUDA_PATH", "/usr/local/cuda")) / "include"  # mma.h needs its folder crt/
    cupy.cuda.set_allocator(None)  # plain cudaMalloc: a pool would round sizes up and hide overruns
    for name in sys.argv[1:]:
        case = load_case(CORPUS / f"{name}.cu")
        module = cupy.RawModule(
            code=case.source,
            options=("-std=c++17", "-lineinfo", f"-I{toolkit}"),
            backend="nvrtc",
            enable_cooperative_groups=case.cooperative,
        )
        kernel = module.get_function("k")
        arguments = on_gpu(case)
        kernel(case.grid, case.block, tuple(arguments), shared_mem=case.shared_mem)
        cupy.cuda.Device().synchronize()
        for argument, value in zip(case.arguments, arguments, strict=True):
            if argument.name in case.outputs:
                value.get()  # as a program would; to initcheck, a copy reads


if __name__ == "__main__":
    main()
