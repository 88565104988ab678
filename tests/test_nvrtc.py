"""Every kernel compiles for real GPUs, on a machine without one: emulator-only code cannot slip in."""

from __future__ import annotations

from pathlib import Path

import pytest

from grader import mutants
from grader.curriculum import REPOSITORY, days
from tests import nvrtc

needs_nvrtc = pytest.mark.skipif(
    nvrtc.library() is None, reason="NOT RUN: the wheel nvidia-cuda-nvrtc is not installed (pip install -e '.[test]')"
)
SOURCES = sorted(
    f.resolve()
    for folder in ("kernels", "days", "solutions", "benchmarks", "tests")
    for f in (REPOSITORY / folder).rglob("*.cu")
)
VARIANTS = {"rmsnorm.cu": (("-DELEMENT=float",), ("-DELEMENT=__nv_bfloat16",))}


def compile_file(source: Path, architecture: str) -> None:
    folders = (f"-I{source.parent}", f"-I{REPOSITORY / 'kernels'}")
    for defines in VARIANTS.get(source.name, ((),)):
        assert (
            nvrtc.compile_cubin(source.read_text(), source.name, architecture, (*folders, *defines))[:4] == b"\x7fELF"
        )


@needs_nvrtc
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
@pytest.mark.parametrize("source", sorted(set(SOURCES)), ids=lambda f: str(f.relative_to(REPOSITORY)))
def test_kernel_compiles(source, architecture):
    compile_file(source, architecture)


@needs_nvrtc
def test_every_mutant_compiles(tmp_path):
    for day in (d for d in days() if d.written):
        for mutant in mutants.mutants(day):
            folder = tmp_path / mutant.name
            folder.mkdir()
            mutants.apply(day, mutant, folder)
            for source in folder.glob("*.cu"):
                compile_file(source, "sm_90")


@needs_nvrtc
@pytest.mark.parametrize("line", ["emu_yield(0);", "printf_nowhere(1);", "out[0] = std::sqrt(2.0);"])
def test_what_only_the_emulator_knows_is_refused(line):
    code = f'extern "C" __global__ void k(float* out) {{ {line} }}'
    with pytest.raises(nvrtc.NvrtcError, match="error"):
        nvrtc.compile_cubin(code, "k.cu", "sm_90")
