"""Matrix products of one shape again and again, through whichever of cuBLASLt's algorithms is quickest here.

cuBLAS takes the algorithm that a model of the GPU predicts to be the quickest. With few rows that can be far off: time goes to
reading the weights, and what matters is how the matrix is cut so that all multiprocessors read at once, along its columns too
("split-K"). So cuBLASLt's candidates are timed here, once for each shape, on the weights they are for.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from engine import cublas
from engine.cublas import COMPUTE_FLOAT32, FLOAT32, TRANSPOSED, TYPES, WORKSPACE_BYTES, CublasError
from engine.timing import hold_gpu

# cublasLt.h: cublasLtMatmulDescAttributes_t and cublasLtMatmulPreferenceAttributes_t
MATMUL_DESC_TRANSA = 3
MATMUL_PREF_MAX_WORKSPACE_BYTES = 1
MATMUL_PREF_MIN_ALIGNMENT_BYTES = (5, 6, 7, 8)  # of A, B, C and D

CANDIDATES = 12
RUNS = 16  # of a candidate, each with another layer's weights: those of the last run are no longer in the L2 cache
LEAST_BYTES = 200 << 20  # of weights that they read: several times an L2 cache
LIMIT = 1e-4  # of the largest number: float32 sums of thousands of numbers differ by less, 16-bit ones by 2^-9 or more
MOST_ALIGNMENT = 256  # bytes; no algorithm asks for more


class Heuristic(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t: an algorithm, and what it needs."""

    _fields_ = (
        ("algorithm", ctypes.c_uint64 * 8),
        ("workspace_bytes", ctypes.c_size_t),
        ("status", ctypes.c_int),
        ("waves", ctypes.c_float),
        ("reserved", ctypes.c_int * 4),
    )


class Shape(NamedTuple):
    """What an algorithm is chosen for: x is [rows, width] and the weight [out, width], both of type `kind`."""

    rows: int
    out: int
    width: int
    kind: str

    @staticmethod
    def of(x: Any, weight: Any) -> Shape:
        """Of a product."""
        return Shape(x.shape[0], weight.shape[0], weight.shape[1], weight.dtype.name)


class _Lt(cublas.Library):
    """The library, and one handle."""

    def __init__(self) -> None:
        super().__init__("cublasLt")
        self.handle = self.created("cublasLtCreate")

    def set(self, name: str, of: ctypes.c_void_p, attribute: int, value: Any) -> None:
        """Set an attribute of a descriptor or of preferences."""
        self.check(name, of, attribute, ctypes.byref(value), ctypes.c_size_t(ctypes.sizeof(value)))


@functools.cache
def _lt() -> _Lt:
    return _Lt()


class Problem:
    """Products of one shape, as cuBLASLt knows them: columns first, so the weight is transposed and comes before x.

    Args:
        alignment: bytes, of all addresses.
    """

    def __init__(self, shape: Shape, alignment: int) -> None:
        lt, kind = _lt(), TYPES[shape.kind]
        self._lt, self.alignment = lt, alignment
        self._product = lt.created("cublasLtMatmulDescCreate", COMPUTE_FLOAT32, FLOAT32)
        lt.set("cublasLtMatmulDescSetAttribute", self._product, MATMUL_DESC_TRANSA, ctypes.c_int32(TRANSPOSED))
        self._weight = self._layout(kind, shape.width, shape.out)
        self._x = self._layout(kind, shape.width, shape.rows)
        self._out = self._layout(FLOAT32, shape.out, shape.rows)

    def _layout(self, kind: int, rows: int, columns: int) -> ctypes.c_void_p:
        sizes = ctypes.c_uint64(rows), ctypes.c_uint64(columns), ctypes.c_int64(rows)
        return self._lt.created("cublasLtMatrixLayoutCreate", kind, *sizes)

    def candidates(self) -> list[Heuristic]:
        """What cuBLASLt would take, the best guess first."""
        lt = self._lt
        preference = lt.created("cublasLtMatmulPreferenceCreate")
        try:
            wishes: list[tuple[int, Any]] = [(MATMUL_PREF_MAX_WORKSPACE_BYTES, ctypes.c_uint64(WORKSPACE_BYTES))]
            wishes += [(at, ctypes.c_uint32(self.alignment)) for at in MATMUL_PREF_MIN_ALIGNMENT_BYTES]
            for attribute, value in wishes:
                lt.set("cublasLtMatmulPreferenceSetAttribute", preference, attribute, value)
            found, count = (Heuristic * CANDIDATES)(), ctypes.c_int()
            lt.check(
                "cublasLtMatmulAlgoGetHeuristic", lt.handle, self._product, self._weight, self._x, self._out, self._out,
                preference, CANDIDATES, ctypes.byref(found), ctypes.byref(count),
            )  # fmt: skip
        finally:
            lt.check("cublasLtMatmulPreferenceDestroy", preference)
        return [one for one in found[: count.value] if one.status == 0 and one.workspace_bytes <= WORKSPACE_BYTES]

    def run(self, algorithm: Heuristic, x: Any, weight: Any, out: Any) -> None:
        """`out = x @ weight.T`.

        Raises:
            CublasError: cuBLASLt refuses.
        """
        address, one, none = ctypes.c_void_p, ctypes.c_float(1.0), ctypes.c_float(0.0)
        to = address(out.data.ptr)
        self._lt.check(
            "cublasLtMatmul", self._lt.handle, self._product, ctypes.byref(one), address(weight.data.ptr), self._weight,
            address(x.data.ptr), self._x, ctypes.byref(none), to, self._out, to, self._out,
            ctypes.byref(algorithm.algorithm), address(cublas.workspace().data.ptr),
            ctypes.c_size_t(algorithm.workspace_bytes), cublas.current_stream(),
        )  # fmt: skip


class Choice(NamedTuple):
    """What is quickest for a shape.

    Attributes:
        seconds: that a product took.
        before: and by cuBLAS's own choice.
    """

    problem: Problem
    algorithm: Heuristic
    seconds: float
    before: float


_choices: dict[Shape, Choice | None] = {}  # None: cuBLAS's own choice


def alignment_of(arrays: Iterable[Any]) -> int:
    """Bytes, a power of two, that all addresses are a multiple of."""
    return min([MOST_ALIGNMENT, *(array.data.ptr & -array.data.ptr for array in arrays)])


def product_into(x: Any, weight: Any, out: Any) -> None:
    """`out = x @ weight.T`, as `engine.cublas.product_into`, but by the algorithm that `choose` has found, where it has.

    Raises:
        CublasError: cuBLAS refuses.
    """
    choice = _choices.get(Shape.of(x, weight)) if _choices else None
    if choice is None or alignment_of((x, weight, out)) < choice.problem.alignment:
        cublas.product_into(x, weight, out)
    else:
        choice.problem.run(choice.algorithm, x, weight, out)


def choose(x: Any, weights: Sequence[Any], out: Any, until: float) -> None:
    """Find the quickest algorithm for a shape, once in a process; not while a graph is recorded.

    An algorithm is taken only where it is quicker than cuBLAS's own choice and its result agrees with that one's. Where
    cuBLASLt is missing or refuses, all stays with cuBLAS.

    Args:
        x: [rows, in], written over.
        weights: [out, in] each, of all products of that shape.
        out: [rows, out] float32, written over.
        until: `time.perf_counter()`, when no other candidate is begun.

    Raises:
        CublasError: cuBLAS itself refuses.
    """
    shape = Shape.of(x, weights[0])
    if shape in _choices or time.perf_counter() >= until:
        return
    _choices[shape] = None
    try:
        problem = Problem(shape, alignment_of((x, out, *weights)))
        candidates = problem.candidates()
    except CublasError:
        return
    xp = _array_module()
    x[...] = xp.cos(xp.arange(x.size, dtype=out.dtype)).reshape(x.shape).astype(x.dtype)
    some = list(itertools.islice(itertools.cycle(weights), _runs(weights[0].nbytes)))

    def seconds_of(product: Callable[[Any, Any, Any], None]) -> float:
        return _seconds([functools.partial(product, x, weight, out) for weight in some])

    before = seconds_of(cublas.product_into)
    timed: list[tuple[float, int]] = []
    for number, algorithm in enumerate(candidates):
        if time.perf_counter() >= until:
            break
        try:
            timed.append((seconds_of(functools.partial(problem.run, algorithm)), number))
        except CublasError:
            continue
    expected = xp.empty_like(out)
    cublas.product_into(x, weights[0], expected)
    for seconds, number in sorted(timed):
        if seconds >= before:
            return
        out[...] = 0
        problem.run(candidates[number], x, weights[0], out)
        if float(abs(out - expected).max()) <= LIMIT * float(abs(expected).max()):
            _choices[shape] = Choice(problem, candidates[number], seconds, before)
            return


def _runs(weight_bytes: int) -> int:
    """Of a candidate: two at least."""
    return max(2, min(RUNS, -(-LEAST_BYTES // weight_bytes)))


def _array_module() -> Any:
    import cupy

    return cupy


def _seconds(runs: Sequence[Callable[[], None]]) -> float:
    """Of one of several runs, one after the other on the GPU. The first is run before, for what is loaded at the first use."""
    import cupy

    begin, end = cupy.cuda.Event(), cupy.cuda.Event()
    runs[0]()
    hold_gpu()
    begin.record()
    for run in runs:
        run()
    end.record()
    end.synchronize()
    return cupy.cuda.get_elapsed_time(begin, end) * 1e-3 / len(runs)
