"""What products' algorithms are called by, and which of them is taken; cuBLASLt itself is played where there is no GPU."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import re
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from engine import cublas, cublaslt, device
from engine.cublaslt import Heuristic, Shape


def headers() -> Path | None:
    """Of the wheels that CuPy's extra `ctk` brings, where they are installed."""
    spec = importlib.util.find_spec("nvidia")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for found in sorted(Path(folder).glob("*/include/cublasLt.h")):
            return found.parent
    return None


def value_in(name: str, text: str) -> int:
    found = re.search(rf"\b{name}\s*=\s*(-?\d+)", text)
    assert found, name
    return int(found[1])


def test_constants_are_the_headers():
    folder = headers()
    if folder is None:
        pytest.skip("NOT RUN: the header cublasLt.h is not installed (pip install -e '.[cuda13]')")
    text = (folder / "cublasLt.h").read_text()
    assert value_in("CUBLASLT_MATMUL_DESC_TRANSA", text) == cublaslt.MATMUL_DESC_TRANSA
    assert value_in("CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES", text) == cublaslt.MATMUL_PREF_MAX_WORKSPACE_BYTES
    names = [f"CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_{which}_BYTES" for which in "ABCD"]
    assert tuple(value_in(name, text) for name in names) == cublaslt.MATMUL_PREF_MIN_ALIGNMENT_BYTES
    fields = re.search(r"typedef struct \{([^}]*)\} cublasLtMatmulHeuristicResult_t;", text)
    assert fields
    words = re.findall(r"^\s*(\w+) \w+(?:\[(\d+)\])?;", re.sub(r"/\*.*?\*/", "", fields[1], flags=re.DOTALL), re.M)
    kinds = ["cublasLtMatmulAlgo_t", "size_t", "cublasStatus_t", "float", "int"]
    assert words == [(kind, "4" if kind == "int" else "") for kind in kinds]
    of_algorithm = re.search(r"uint64_t data\[(\d+)\];\s*\} cublasLtMatmulAlgo_t;", text)
    assert of_algorithm
    assert int(of_algorithm[1]) * 8 == Heuristic.algorithm.size
    text = (folder / "cublas_api.h").read_text()
    assert value_in("CUBLAS_COMPUTE_32F", text) == cublas.COMPUTE_FLOAT32
    assert value_in("CUBLAS_OP_T", text) == cublas.TRANSPOSED


def test_a_heuristic_is_as_the_compiler_lays_it_out():
    offsets = [getattr(Heuristic, name).offset for name, _ in Heuristic._fields_]
    assert (offsets, ctypes.sizeof(Heuristic)) == ([0, 64, 72, 76, 80], 96)


class Array(np.ndarray):
    """NumPy's, with an address as CuPy's arrays have it."""

    @property
    def data(self) -> Any:
        return SimpleNamespace(ptr=self.ctypes.data)


def aligned(shape: tuple[int, ...], offset: int = 0) -> Any:
    """float16 that begin `offset` bytes after a multiple of 256."""
    memory = np.zeros(int(np.prod(shape)) * 4 + 1024, np.uint8).view(Array)
    first = -memory.ctypes.data % 256 + offset
    return memory[first : first + 2 * int(np.prod(shape))].view(np.float16).reshape(shape)


class Played:
    """Algorithms by number: each takes so many seconds, and multiplies its result with something."""

    def __init__(self, patch: pytest.MonkeyPatch, algorithms: dict[int, tuple[float, float]], own: float = 1.0) -> None:
        self.algorithms, self.used, self.refused = algorithms, [], ()
        self.seconds, self.problems = own, 0
        patch.setattr(cublaslt, "_choices", {})
        patch.setattr(cublaslt, "_array_module", lambda: np)
        patch.setattr(cublaslt, "_seconds", self.of_runs)
        patch.setattr(cublaslt, "Problem", self.problem)
        patch.setattr(cublas, "product_into", functools.partial(self.multiply, own, 1.0, "cublas"))

    def multiply(self, seconds: float, factor: float, name: Any, x: Any, weight: Any, out: Any) -> None:
        self.seconds = seconds
        self.used.append(name)
        out[...] = factor * (x.astype(np.float32) @ weight.astype(np.float32).T)

    def of_runs(self, runs: Any) -> float:
        runs[0]()
        return self.seconds

    def problem(self, shape: Shape, alignment: int) -> Any:
        self.problems += 1

        def run(number: int, x: Any, weight: Any, out: Any) -> None:
            if number in self.refused:
                raise cublas.CublasError(f"{number}")
            self.multiply(*self.algorithms[number], number, x, weight, out)

        return SimpleNamespace(alignment=alignment, candidates=lambda: list(self.algorithms), run=run)

    def chosen(self, x: Any, weight: Any, out: Any) -> Any:
        cublaslt.choose(x, [weight], out, time.perf_counter() + 60)
        cublaslt.product_into(x, weight, out)
        return self.used[-1]


@pytest.fixture
def operands() -> tuple[Any, Any, Any]:
    weight = aligned((24, 16))
    weight[...] = np.random.default_rng(0).standard_normal((24, 16))
    return aligned((4, 16)), weight, aligned((4, 48)).view(np.float32)


def test_the_quickest_that_is_right_is_taken(monkeypatch, operands):
    played = Played(monkeypatch, {1: (0.5, 1.0), 2: (0.1, 1.001), 3: (0.2, np.nan), 4: (0.3, 1.000001)})
    assert played.chosen(*operands) == 4
    x, weight, out = operands
    np.testing.assert_allclose(out, x.astype(np.float32) @ weight.astype(np.float32).T, rtol=1e-5)


def test_none_is_taken_that_is_slower(monkeypatch, operands):
    assert Played(monkeypatch, {1: (1.5, 1.0), 2: (0.1, 2.0)}).chosen(*operands) == "cublas"


def test_one_that_is_refused_is_left_out(monkeypatch, operands):
    played = Played(monkeypatch, {1: (0.5, 1.0), 2: (0.1, 1.0)})
    played.refused = (2,)
    assert played.chosen(*operands) == 1


def test_a_shape_is_chosen_for_once(monkeypatch, operands):
    played = Played(monkeypatch, {1: (0.5, 1.0)})
    assert [played.chosen(*operands), played.chosen(*operands)] == [1, 1]
    x, weight, out = operands
    assert played.problems == 1
    assert played.chosen(x[:3], weight, out[:3]) == 1
    assert played.problems == 2, "another number of rows is another shape"


def test_other_shapes_and_less_aligned_memory_stay_with_cublas(monkeypatch, operands):
    played = Played(monkeypatch, {1: (0.5, 1.0)})
    x, weight, out = operands
    played.chosen(x, weight, out)
    cublaslt.product_into(x[:2], weight, out[:2])
    assert played.used[-1] == "cublas"
    elsewhere = aligned(x.shape, 16)
    elsewhere[...] = x
    cublaslt.product_into(elsewhere, weight, out)
    assert played.used[-1] == "cublas"


def test_without_time_nothing_is_tried(monkeypatch, operands):
    played = Played(monkeypatch, {1: (0.5, 1.0)})
    x, weight, out = operands
    cublaslt.choose(x, [weight], out, time.perf_counter() - 1)
    assert (played.problems, played.used) == (0, [])
    assert played.chosen(x, weight, out) == 1, "later there is"


def test_without_the_library_all_stays_with_cublas(monkeypatch, operands):
    played = Played(monkeypatch, {})

    def missing(*_: object) -> Any:
        raise cublas.CublasError("cublasLt cannot be loaded")

    monkeypatch.setattr(cublaslt, "Problem", missing)
    assert played.chosen(*operands) == "cublas"


def test_a_library_that_is_not_there_is_named():
    with pytest.raises(cublas.CublasError, match="no such library cannot be loaded"):
        cublas.Library("no such library")


def test_alignment():
    assert cublaslt.alignment_of([aligned((8,)), aligned((8,), 48)]) == 16
    assert cublaslt.alignment_of([aligned((8,))]) == cublaslt.MOST_ALIGNMENT


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
@pytest.mark.parametrize(("rows", "out", "width"), [(128, 2048, 8192), (16, 3072, 2048), (254, 48, 40)])
def test_products(monkeypatch, kind, rows, out, width):
    """By whichever algorithm: what float64 computes, to float32's sums."""
    device.select("cuda")
    monkeypatch.setattr(cublaslt, "_choices", {})
    import ml_dtypes

    rng = np.random.default_rng(rows)
    of_kind = ml_dtypes.bfloat16 if kind == "bfloat16" else np.float16
    x, weight = (rng.standard_normal((n, width)).astype(of_kind) for n in (rows, out))
    on_gpu = [device.to_device(array) for array in (x, weight, np.zeros((rows, out), np.float32))]
    cublaslt.choose(on_gpu[0].copy(), [on_gpu[1]], on_gpu[2], time.perf_counter() + 5)
    cublaslt.product_into(*on_gpu)
    expected = x.astype(np.float64) @ weight.astype(np.float64).T
    assert np.linalg.norm(device.to_host(on_gpu[2]) - expected) <= 1e-5 * np.linalg.norm(expected)
