"""Day 7, RMSNorm: error budget for each dtype, every awkward length, real activations, bytes moved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from grader import budget, oracles
from grader.models import tensor_rows
from grader.spec import DTYPES, BadInput, Case, DayChecks, Speed, Task

EPS = 1e-5  # of Llama 3.2
MODEL = "smollm2-135m"


def rows(count: int, hidden: int, dtype: str, scale: float = 1.0, offset: float = 0.0) -> Callable[..., Sequence[Any]]:
    """Normal rows of different sizes, so that one row's sum in place of another's shows, and a weight around 1."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        sizes = scale * 2.0 ** rng.uniform(-2, 2, (count, 1))
        x = (rng.standard_normal((count, hidden)) + offset) * sizes
        weight = 1.0 + 0.5 * rng.standard_normal(hidden)
        return x.astype(DTYPES[dtype]), weight.astype(DTYPES[dtype]), EPS

    return make


def large_eps(rng: np.random.Generator) -> Sequence[Any]:
    """An eps that shows in every row, and is not that of Llama."""
    return *rows(3, 200, "float32")(rng)[:2], 0.5


def zero_row(rng: np.random.Generator) -> Sequence[Any]:
    """One row of zeros between two others."""
    x, weight, eps = rows(3, 576, "float32")(rng)
    x[1] = 0.0
    return x, weight, eps


def real_rows(rng: np.random.Generator) -> Sequence[Any]:
    """Sixteen embeddings and the first layer's norm weight: real numbers have outliers."""
    embeddings = tensor_rows(MODEL, "model.embed_tokens.weight", rng.integers(0, 49152, 16))
    return embeddings, tensor_rows(MODEL, "model.layers.0.input_layernorm.weight"), EPS


def wrong_weight(rng: np.random.Generator) -> Sequence[Any]:
    """A weight of one column too few."""
    x, weight, eps = rows(2, 64, "float32")(rng)
    return x, np.ascontiguousarray(weight[:-1]), eps


def mixed_dtypes(rng: np.random.Generator) -> Sequence[Any]:
    """A float32 weight for bfloat16 rows."""
    x, weight, eps = rows(2, 64, "bfloat16")(rng)
    return x, weight.astype(np.float32), eps


def empty_columns(rng: np.random.Generator) -> Sequence[Any]:
    """Rows without columns have no mean."""
    return np.zeros((2, 0), np.float32), np.zeros(0, np.float32), EPS


RMSNORM = Task(
    function="rmsnorm",
    oracle=oracles.rmsnorm,
    budget=budget.rmsnorm,
    fresh=True,
    cases=[
        Case("1 × 1024 float32", rows(1, 1024, "float32"), sanitize=True),
        Case("3 × 1000 float32", rows(3, 1000, "float32"), sanitize=True, count_costs=True),
        *(Case(f"3 × {n} float32", rows(3, n, "float32"), sanitize=n in (1, 33)) for n in (1, 31, 32, 33, 576, 4097)),
        Case("64 × 2048 bfloat16", rows(64, 2048, "bfloat16")),
        *(Case(f"3 × {n} bfloat16", rows(3, n, "bfloat16"), sanitize=n == 1000) for n in (33, 1000, 4097)),
        Case("tiny values: eps decides", rows(3, 576, "float32", scale=2e-3)),
        Case("an eps of 0.5", large_eps),
        Case("huge values", rows(3, 576, "float32", scale=1e15)),
        Case("bfloat16 in the thousands", rows(3, 576, "bfloat16", scale=3e3)),
        Case("far from mean 0", rows(3, 576, "float32", offset=4.0)),
        Case("a row of zeros", zero_row, sanitize=True),
        Case("SmolLM2-135M layer 0, real rows", real_rows),
    ],
    bad_input=[
        BadInput("weight one column short", wrong_weight, "weight"),
        BadInput("weight of another dtype", mixed_dtypes, "weight"),
        BadInput("rows without columns", empty_columns, "x"),
    ],
    outputs=("out",),
    cost_limits={"global bytes": 1.25, "bank conflicts": 2.0, "barriers": 2.0, "launches": 1.0},
    speed=Speed(
        "4,096 × 2,048 bfloat16",
        rows(4096, 2048, "bfloat16"),
        bytes_moved=lambda args: 2 * args[0].nbytes + args[1].nbytes,
    ),
)

CHECKS = DayChecks([RMSNORM])
