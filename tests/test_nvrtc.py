"""Every kernel compiles for real GPUs, on a machine without one: emulator-only code cannot slip in."""

from __future__ import annotations

import itertools
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

import pytest

import emulator
from grader import mutants
from grader.curriculum import REPOSITORY, Day, days
from tests import nvrtc

needs_nvrtc = pytest.mark.skipif(
    nvrtc.library() is None, reason="NOT RUN: the wheel nvidia-cuda-nvrtc is not installed (pip install -e '.[test]')"
)
FOLDERS = ("kernels", "days", "solutions", "benchmarks", "tests")
SOURCES = sorted({f.resolve() for folder in FOLDERS for f in (REPOSITORY / folder).rglob("*.cu")})
ARCHITECTURES = ("sm_80", "sm_90")
# A source that leaves a macro to whoever compiles it (`#ifndef ELEMENT`) is compiled with each of these.
MACROS = {"ELEMENT": ("float", "__nv_bfloat16")}
MUTANTS = [(day, mutant) for day in days() if day.written for mutant in mutants.mutants(day)]


def variants(text: str) -> list[tuple[str, ...]]:
    """The sets of -D options to compile a source with."""
    left_open = [name for name in MACROS if f"#ifndef {name}\n" in text]
    return [
        tuple(f"-D{name}={value}" for name, value in zip(left_open, values, strict=True))
        for values in itertools.product(*(MACROS[name] for name in left_open))
    ]


def compile_file(source: Path, architecture: str, include: Path | None = None) -> None:
    text = source.read_text()
    folders = (f"-I{include or source.parent}", f"-I{REPOSITORY / 'kernels'}")
    for defines in variants(text):
        cubin = nvrtc.compile_cubin(text, source.name, architecture, (*folders, *defines))
        assert cubin[:4] == b"\x7fELF", f"{source.name}, {architecture}, {defines}: no cubin came back"


Compiler = Callable[[Path, str], "Future[None]"]


@pytest.fixture(scope="module")
def compiled(request: pytest.FixtureRequest) -> Iterator[Compiler]:
    """What a file's compilation gave; all that were selected start at once, in processes: NVRTC has a lock of its own."""
    selected = {
        (item.callspec.params["source"], item.callspec.params["architecture"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.originalname == "test_kernel_compiles"
    }
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        jobs = {job: pool.submit(compile_file, *job) for job in sorted(selected)}
        yield lambda source, architecture: jobs[source, architecture]


@needs_nvrtc
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("source", SOURCES, ids=lambda f: f.relative_to(REPOSITORY).as_posix())
def test_kernel_compiles(source: Path, architecture: str, compiled: Compiler) -> None:
    compiled(source, architecture).result()


@needs_nvrtc
@pytest.mark.parametrize(("day", "mutant"), MUTANTS, ids=lambda value: value.name)
def test_mutant_compiles(day: Day, mutant: mutants.Mutant, tmp_path: Path) -> None:
    for name, text in mutants.texts(day, mutant).items():
        (tmp_path / name).write_text(text)
    sources = list(tmp_path.glob("*.cu"))
    assert sources or not any(name.endswith(".cu") for name in day.files)
    for source in sources:
        compile_file(source, "sm_90", include=day.solution)


def test_there_is_something_to_compile() -> None:
    tops = {f.relative_to(REPOSITORY).parts[0] for f in SOURCES}
    assert {"kernels", "days", "tests"} <= tops
    assert MUTANTS


def test_open_macros_are_all_tried() -> None:
    assert variants("int x;") == [()]
    assert variants("#ifndef ELEMENT\n#define ELEMENT float\n#endif") == [
        ("-DELEMENT=float",),
        ("-DELEMENT=__nv_bfloat16",),
    ]


@needs_nvrtc
@pytest.mark.parametrize("line", ["emu::barrier(1);", "out[0] = std::sqrt(2.0);"])
def test_what_only_the_emulator_knows_is_refused(line: str) -> None:
    code = f'extern "C" __global__ void k(float* out) {{ {line} }}'
    emulator.RawModule(code).get_function("k")  # it does compile there: the test is about the difference
    with pytest.raises(nvrtc.NvrtcError, match=r"kernel\.cu\(1\): error"):
        nvrtc.compile_cubin(code, "kernel.cu", "sm_90")
