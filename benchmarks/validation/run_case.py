"""Launches kernels of the corpus through CuPy, for NVIDIA's tools to watch: `run_case.py NAME [NAME …]`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import cupy
import numpy as np

from tests.emulator.loader import CORPUS, Case, load_case


def on_gpu(case: Case) -> list[object]:
    """The case's arguments, each array in an allocation of its own and exactly as large as it is."""
    out: list[object] = []
    copies: dict[int, cupy.ndarray] = {}
    for argument, value in zip(case.arguments, case.make_arguments(), strict=True):
        if not isinstance(value, np.ndarray):
            out.append(value)
        elif id(value) in copies:
            out.append(copies[id(value)])
        else:
            whole = (
                value.base.base if argument.within and value.base is not None and value.base.base is not None else value
            )
            whole = value if whole.size < value.size else whole
            copies[id(value)] = cupy.asarray(whole).reshape(-1)[: value.size].reshape(value.shape)
            out.append(copies[id(value)])
    return out


def main() -> None:
    """Launch each named case once, in order."""
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
        kernel(case.grid, case.block, tuple(on_gpu(case)), shared_mem=case.shared_mem)
        cupy.cuda.Device().synchronize()


if __name__ == "__main__":
    main()
