"""Day 12, softmax: every awkward length, scores that overflow without the maximum, masked rows, NaN and infinities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from grader import budget, oracles
from grader.models import tensor_rows
from grader.spec import BadInput, Case, DayChecks, Speed, Task

MODEL = "smollm2-135m"
HEAD_DIM = 64
INFINITY = np.float32(np.inf)
Make = Callable[[np.random.Generator], Sequence[Any]]


def rows(count: int, n: int, spread: float = 2.0, offset: float = 0.0) -> Make:
    """Normal rows of different sizes, so that one row's maximum or sum in place of another's shows."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        sizes = spread * 2.0 ** rng.uniform(-1, 1, (count, 1))
        centres = offset + 5 * rng.standard_normal((count, 1))
        return ((rng.standard_normal((count, n)) * sizes + centres).astype(np.float32),)

    return make


def late_peak(rng: np.random.Generator) -> Sequence[Any]:
    """The largest score stands at the end of a row, far above all before it."""
    x = rows(3, 700)(rng)[0]
    x[:, -1] += 150
    return (x,)


def largest_floats(rng: np.random.Generator) -> Sequence[Any]:
    """Scores near the largest float32, of both signs, and rows where all are the same."""
    x = (rng.choice([-3e38, 3e38, 1e30], (4, 100))).astype(np.float32)
    x[1:3] = [[3e38], [-3e38]]
    return (x,)


def causal(tokens: int) -> Make:
    """Row t may look at columns up to t: the rest is -inf."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        x = rows(tokens, tokens)(rng)[0]
        x[np.triu_indices(tokens, 1)] = -INFINITY
        return (x,)

    return make


def masked_rows(rng: np.random.Generator) -> Sequence[Any]:
    """Rows of -inf alone, one where only the last element is left, and one that starts with -inf."""
    x = rows(5, 300)(rng)[0]
    x[[0, 3]] = -INFINITY
    x[1, :-1] = -INFINITY
    x[2, :270] = -INFINITY
    return (x,)


def faults(rng: np.random.Generator) -> Sequence[Any]:
    """NaN and +inf in every part of a row, in masked rows too, between rows without."""
    x = rows(9, 300)(rng)[0]
    for row, column in ((1, 0), (2, 255), (3, 299)):
        x[row, column] = np.nan
    x[4, 40], x[5, 290] = INFINITY, INFINITY
    x[6] = x[7] = -INFINITY
    x[6, 270], x[7, 33] = np.nan, INFINITY
    return (x,)


def real_scores(rng: np.random.Generator) -> Sequence[Any]:
    """Scores of a real head without positions: 48 embeddings, the first layer's norm, its first query and key head."""
    x = tensor_rows(MODEL, "model.embed_tokens.weight", rng.integers(0, 49152, 48)).astype(np.float32)
    weight = tensor_rows(MODEL, "model.layers.0.input_layernorm.weight").astype(np.float32)
    x = x / np.sqrt((x * x).mean(axis=1, keepdims=True) + 1e-5) * weight
    q, k = (
        x @ tensor_rows(MODEL, f"model.layers.0.self_attn.{which}_proj.weight")[:HEAD_DIM].astype(np.float32).T
        for which in "qk"
    )
    scores = (q @ k.T / np.sqrt(np.float32(HEAD_DIM))).astype(np.float32)
    scores[np.triu_indices(len(scores), 1)] = -INFINITY
    return (scores,)


def fixed(x: np.ndarray) -> Make:
    """Arguments that need no random numbers."""
    return lambda _: (x,)


SOFTMAX = Task(
    function="softmax",
    oracle=oracles.softmax,
    budget=budget.softmax,
    fresh=True,
    cases=[
        Case("1 × 1024", rows(1, 1024), sanitize=True),
        Case("3 × 1000", rows(3, 1000), sanitize=True, count_costs=True),
        *(Case(f"3 × {n}", rows(3, n), sanitize=n in (1, 33)) for n in (1, 31, 32, 33, 257, 4099)),
        Case("2 × 100 003", rows(2, 100_003)),
        Case("scores in the hundreds", rows(3, 500, spread=100.0)),
        Case("all scores near 1,000", rows(3, 500, offset=1000.0)),
        Case("all scores near -1,000", rows(3, 500, offset=-1000.0)),
        Case("the largest score comes last", late_peak),
        Case("scores near the largest float32", largest_floats),
        Case("all scores the same", fixed(np.full((2, 1000), 7.5, np.float32))),
        Case("causal mask, 70 × 70", causal(70), sanitize=True),
        Case("fully masked rows", masked_rows),
        Case("NaN and +inf", faults),
        Case("SmolLM2-135M layer 0, real scores", real_scores),
        Case("no rows", fixed(np.zeros((0, 5), np.float32))),
    ],
    bad_input=[
        BadInput("rows without columns", fixed(np.zeros((2, 0), np.float32)), "x"),
        BadInput("three dimensions", fixed(np.zeros((2, 4, 4), np.float32)), "x"),
        BadInput("float64", fixed(np.zeros((2, 8))), "x"),
    ],
    outputs=("out",),
    cost_limits={"global bytes": 1.5, "barriers": 2.0, "bank conflicts": 2.0, "launches": 1.0},
    speed=Speed("4,096 × 4,096", rows(4096, 4096), bytes_moved=lambda args: 2 * args[0].nbytes),
)

CHECKS = DayChecks([SOFTMAX])
