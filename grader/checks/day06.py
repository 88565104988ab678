"""Day 6, reductions: every awkward length, signs that cancel, infinities and NaN; trips to shared memory and barriers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from grader import budget, oracles
from grader.models import tensor_rows
from grader.spec import BadInput, Case, DayChecks, Speed, Task

MODEL = "smollm2-135m"
Make = Callable[[np.random.Generator], Sequence[Any]]
LENGTHS = (1, 31, 32, 33, 255, 257, 4099)
INFINITY = np.float32(np.inf)


def rows(count: int, n: int, offset: float = 0.0) -> Make:
    """Normal rows of different sizes, so that one row's result in place of another's shows."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        sizes = 2.0 ** rng.uniform(-2, 2, (count, 1))
        return (((rng.standard_normal((count, n)) + offset) * sizes).astype(np.float32),)

    return make


def cancelling(rng: np.random.Generator) -> Sequence[Any]:
    """Each number and its opposite somewhere else in the row, and a little left over."""
    half = rng.standard_normal((4, 500)) * 1e4
    x = rng.permuted(np.concatenate([half, -half], axis=1), axis=1)
    return ((x + rng.standard_normal(x.shape)).astype(np.float32),)


def special_sums(rng: np.random.Generator) -> Sequence[Any]:
    """Rows with infinities and NaN, between rows without."""
    x = rows(6, 300)(rng)[0]
    x[1, 299] = INFINITY
    x[2, 33] = -INFINITY
    x[3, [7, 270]] = INFINITY, -INFINITY
    x[4, 256] = np.nan
    return (x,)


def special_maxima(rng: np.random.Generator) -> Sequence[Any]:
    """Rows of -inf alone, with one number among them, with inf; negative rows, and NaN in every part of a row."""
    x = rows(12, 300)(rng)[0]
    x[0] = -INFINITY
    x[1] = -INFINITY
    x[1, 299] = -1e38
    x[2, 40] = INFINITY
    x[3] = -np.abs(x[3]) - 1
    for row, column in ((4, 0), (5, 31), (6, 32), (7, 255), (8, 256), (9, 299)):
        x[row, column] = np.nan
    x[10, [3, 200]] = np.nan, INFINITY
    return (x,)


def real_rows(rng: np.random.Generator) -> Sequence[Any]:
    """Sixteen embeddings: real numbers have outliers."""
    return (tensor_rows(MODEL, "model.embed_tokens.weight", rng.integers(0, 49152, 16)).astype(np.float32),)


def fixed(x: np.ndarray) -> Make:
    """Arguments that need no random numbers."""
    return lambda _: (x,)


def cases(name: str, *more: Case) -> list[Case]:
    """The cases that every function gets, under its name."""
    return [
        Case(f"{name}, 1 × 1024", rows(1, 1024), sanitize=True),
        Case(f"{name}, 3 × 1000", rows(3, 1000), sanitize=True, count_costs=True),
        *(Case(f"{name}, 3 × {n}", rows(3, n), sanitize=n in (1, 33, 257)) for n in LENGTHS),
        *more,
        Case(f"{name}, 2 × 100 003", rows(2, 100_003)),
        Case(f"{name}, SmolLM2-135M embeddings", real_rows),
        Case(f"{name}, no rows", fixed(np.zeros((0, 5), np.float32))),
    ]


def sum_task(function: str, name: str, **limits: float) -> Task:
    """A sum of rows, by a tree or by shuffles."""
    return Task(
        function=function,
        oracle=oracles.row_sum,
        budget=budget.row_sum,
        fresh=True,
        cases=cases(
            name,
            Case(f"{name}, far from 0", rows(3, 1000, offset=4.0)),
            Case(f"{name}, signs that cancel", cancelling),
            Case(f"{name}, infinities and NaN", special_sums),
        ),
        outputs=("out",),
        cost_limits={**limits, "global bytes": 1.25, "launches": 1.0},
        speed=FAST,
    )


FAST = Speed("4,096 × 4,096", rows(4096, 4096), bytes_moved=lambda args: args[0].nbytes + 4 * len(args[0]))
WITH_SHUFFLES = {"barriers": 2.0, "shared wavefronts": 2.0}
THREADS = 256  # of the lesson's blocks


def for_each_thread(x: np.ndarray) -> np.ndarray:
    """The sum, once for each thread and way."""
    return np.broadcast_to(oracles.row_sum(x), (2, THREADS))


CHECKS = DayChecks(
    [
        sum_task("row_sum_tree", "tree", **{"shared wavefronts": 1.5, "bank conflicts": 1.0, "barriers": 1.5}),
        sum_task("row_sum", "sum", **WITH_SHUFFLES),
        Task(
            function="row_max",
            oracle=oracles.row_max,
            budget=budget.row_max,
            fresh=True,
            cases=cases("max", Case("max, infinities and NaN", special_maxima)),
            bad_input=[
                BadInput("rows without columns", fixed(np.zeros((2, 0), np.float32)), "x"),
                BadInput("one dimension", fixed(np.zeros(8, np.float32)), "x"),
                BadInput("float64", fixed(np.zeros((2, 8))), "x"),
            ],
            outputs=("out",),
            cost_limits={"global bytes": 1.25, **WITH_SHUFFLES, "launches": 1.0},
            speed=FAST,
        ),
        Task(
            function="sum_of_each_thread",
            oracle=for_each_thread,
            budget=budget.row_sum,
            cases=[Case("each thread gets the sum", rows(1, THREADS), sanitize=True)],
            outputs=("sum_of_each_thread:out",),
        ),
    ]
)
