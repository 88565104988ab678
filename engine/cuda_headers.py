"""Where the toolkit's headers for tensor cores lie: CuPy brings its own copies of others, but neither mma.h nor its parts."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

TENSOR_CORES = ("mma.h", "crt/mma.h")
USUAL_TOOLKIT = "/usr/local/cuda"


def folders(major: int) -> list[Path]:
    """The include folders that hold them, or none where they are not installed.

    Args:
        major: of the CUDA release that the compiler is of; headers of another one are passed over.
    """
    known = list(_known(major))
    both = [folder for folder in known if all((folder / header).is_file() for header in TENSOR_CORES)]
    if both:
        return both[:1]
    found = [next((folder for folder in known if (folder / header).is_file()), None) for header in TENSOR_CORES]
    return [folder for folder in found if folder is not None] if None not in found else []


def missing(major: int) -> str:
    """What to say where they are not installed."""
    package = "nvidia-cuda-crt" if major >= 13 else f"nvidia-cuda-nvcc-cu{major}"
    return (
        f"the headers mma.h and crt/mma.h of CUDA {major} are not here "
        f"(pip install {package} nvidia-cuda-runtime{'' if major >= 13 else f'-cu{major}'}, or set CUDA_PATH to a CUDA toolkit)"
    )


def _known(major: int) -> Iterator[Path]:
    """Include folders of that release: NVIDIA's wheels, then toolkits."""
    spec = importlib.util.find_spec("nvidia")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        # Up to CUDA 12 each wheel has a folder of its own; from 13 on all of a release share one.
        yield from sorted(Path(place).glob(f"cu{major}/include" if major >= 13 else "cuda_*/include"))
    nvcc = shutil.which("nvcc")
    roots = [os.environ.get("CUDA_PATH"), os.environ.get("CUDA_HOME"), nvcc and Path(nvcc).resolve().parents[1]]
    for root in (*roots, USUAL_TOOLKIT):
        if root and _release(Path(root) / "include") == major:
            yield Path(root) / "include"


def _release(folder: Path) -> int | None:
    """Major number of the toolkit whose include folder it is."""
    try:
        text = (folder / "cuda.h").read_text(errors="replace")
    except OSError:
        return None
    found = re.search(r"^\s*#\s*define\s+CUDA_VERSION\s+(\d+)", text, re.MULTILINE)
    return int(found[1]) // 1000 if found else None
