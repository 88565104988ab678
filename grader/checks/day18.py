"""Day 18, argmax: peaks at every edge, ties, zeros of both signs, neighbouring numbers, infinities, NaN; bytes and launches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from grader import oracles
from grader.models import tensor_rows
from grader.spec import BadInput, Case, DayChecks, Speed, Task

MODEL = "smollm2-135m"
INFINITY = np.float32(np.inf)
Make = Callable[[np.random.Generator], Sequence[Any]]


def rows(count: int, n: int) -> Make:
    """Normal rows: every other one has negative numbers only."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        offsets = np.where(np.arange(count) % 2, -100.0, 0.0)[:, None]
        return ((4 * rng.standard_normal((count, n)) + offsets).astype(np.float32),)

    return make


def peaks(n: int, *columns: int) -> Make:
    """A row for each of these columns, where the largest number is that far from the row's end (negative) or start."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        x = rows(len(columns), n)(rng)[0]
        x[np.arange(len(columns)), columns] = 60.0
        return (x,)

    return make


def neighbours(rng: np.random.Generator) -> Sequence[Any]:
    """The largest number of a row is the next float32 after another of it."""
    x = rows(9, 2000)(rng)[0]
    top = np.linspace(-80, 80, len(x)).astype(np.float32)
    x = np.minimum(x, -100)
    for r, value in enumerate(top):
        first, second, third = rng.choice(2000, 3, replace=False)
        x[r, [first, second]] = value
        x[r, third] = np.nextafter(value, INFINITY)
    return (x,)


def ties(count: int, n: int, values: Sequence[float]) -> Make:
    """Every number stands in many places."""
    return lambda rng: (rng.choice(np.array(values, np.float32), (count, n)),)


def few_ties(rng: np.random.Generator) -> Sequence[Any]:
    """The largest number stands in two places of a row, or three: in two warps, in two rounds of a thread, in two parts."""
    x = rows(5, 3000)(rng)[0]
    for r, places in enumerate(([40, 70], [5, 261], [1023, 1024], [30, 2999, 1500], [2048, 2050])):
        x[r, places] = 70.0
    return (x,)


def infinities(rng: np.random.Generator) -> Sequence[Any]:
    """Rows of -inf alone, of -inf but for one number, and rows where +inf stands once or twice."""
    x = rows(7, 1500)(rng)[0]
    x[[0, 3]] = -INFINITY
    x[1] = -INFINITY
    x[1, 1400] = -3e38
    x[2, [900, 1200]] = INFINITY
    x[4, :1499] = -INFINITY
    x[5, 1499] = INFINITY
    return (x,)


def nans(rng: np.random.Generator) -> Sequence[Any]:
    """NaN in every part of a row, of both signs, beside infinities and alone; between rows without."""
    x = rows(11, 1500)(rng)[0]
    for row, column in ((1, 0), (2, 255), (4, 1024), (5, 1499)):
        x[row, column] = np.nan
    x[6, 70] = -np.float32(np.nan)
    x[7, [3, 400]] = np.nan, INFINITY
    x[8] = -INFINITY
    x[8, 1300] = np.nan
    x[9] = -np.float32(np.nan)
    return (x,)


def one_nan(row: int) -> Make:
    """Four rows, one with a NaN."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        x = rows(4, 50)(rng)[0]
        x[row, 20] = np.nan
        return (x,)

    return make


def several_nans(rng: np.random.Generator) -> Sequence[Any]:
    """Six rows of which three have a NaN: the first is row 2."""
    x = rows(6, 50)(rng)[0]
    x[[2, 3, 5], 20] = np.nan
    return (x,)


def real_logits(rng: np.random.Generator) -> Sequence[Any]:
    """A real output matrix on three directions: of two tokens, and of their sum."""
    head = tensor_rows(MODEL, "model.embed_tokens.weight").astype(np.float32)
    one, two = head[rng.integers(0, len(head), 2)]
    return (np.ascontiguousarray(np.stack([one, two, one + two]) @ head.T),)


def fixed(x: np.ndarray) -> Make:
    """Arguments that need no random numbers."""
    return lambda _: (x,)


LARGEST = Task(
    function="largest_indices",
    oracle=oracles.largest_indices,
    cases=[
        Case("8 × 1024", rows(8, 1024), sanitize=True),
        Case("9 × 3000", rows(9, 3000), sanitize=True, count_costs=True),
        *(Case(f"3 × {n}", peaks(n, 0, -1, n // 2), sanitize=n in (1, 33)) for n in (1, 31, 32, 33, 257, 1025, 4099)),
        Case(
            "the largest stands at an edge",
            peaks(3000, 0, 31, 32, 255, 256, 1023, 1024, 1279, 1280, 2047, 2048, 2975, 2976, -1),
        ),
        Case("3 × 128 256", rows(3, 128_256)),
        Case("3 × 300 007", peaks(300_007, 1, 262_144, -1)),
        Case("the largest stands twice", few_ties),
        Case("four values", ties(6, 1100, [-2.5, -1.0, 0.5, 3.0]), sanitize=True),
        Case("all numbers the same", fixed(np.full((2, 2500), -7.5, np.float32))),
        Case("zeros of both signs", ties(7, 300, [-0.0, 0.0, -1.0])),
        Case("subnormal numbers", ties(3, 300, [-1e-45, 0.0, 1e-45, 1e-40, -1e-39])),
        Case("neighbouring float32 numbers", neighbours),
        Case("infinities", infinities),
        Case("NaN", nans),
        Case("SmolLM2-135M, real output matrix", real_logits),
        Case("no rows", fixed(np.zeros((0, 5), np.float32))),
    ],
    outputs=("argmax_parts:keys", "argmax_merge:out"),
    cost_limits={"global bytes": 1.25, "launches": 1.5, "barriers": 2.0, "global requests": 2.0},
    speed=Speed("1 × 128,256", rows(1, 128_256), bytes_moved=lambda args: args[0].nbytes),
)

ARGMAX = Task(
    function="argmax",
    oracle=oracles.largest_indices,
    cases=[
        Case("argmax, 4 × 1000", rows(4, 1000)),
        Case("argmax, the first token wins", peaks(100, 0, 5, 0)),
        Case("argmax, infinities", infinities),
        Case("argmax, no rows", fixed(np.zeros((0, 5), np.float32))),
        Case("argmax, 2 × 40 000", rows(2, 40_000), count_costs=True),
    ],
    bad_input=[
        BadInput("a NaN in the only row", fixed(np.array([[1, np.nan, 2]], np.float32)), ("logits", "row 0")),
        BadInput("a NaN in row 0", one_nan(0), ("logits", "row 0")),
        BadInput("a NaN in the last row", one_nan(3), ("logits", "row 3")),
        BadInput("a NaN in three rows", several_nans, ("logits", "row 2")),
        BadInput("rows without columns", fixed(np.zeros((2, 0), np.float32)), "logits"),
        BadInput("one dimension", fixed(np.zeros(8, np.float32)), "logits"),
        BadInput("float64", fixed(np.zeros((2, 8))), "logits"),
    ],
    cost_limits={"host bytes": 2.0, "global bytes": 1.25},
)

CHECKS = DayChecks([LARGEST, ARGMAX])
