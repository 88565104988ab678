"""Day 9, matrix products by tiles: every ragged shape, signs that cancel; bytes and trips to shared memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from grader import budget, oracles
from grader.models import tensor_rows
from grader.spec import DTYPES, BadInput, Case, DayChecks, Speed, Task

MODEL = "smollm2-135m"
BFLOAT16 = DTYPES["bfloat16"]
Make = Callable[[np.random.Generator], Sequence[Any]]
RAGGED = ((1, 1, 1), (31, 33, 32), (33, 31, 64), (64, 32, 33), (2, 100, 7), (100, 2, 129), (17, 48, 1001))


def matrices(tokens: int, rows: int, columns: int, offset: float = 0.0, dtype: np.dtype = BFLOAT16) -> Make:
    """Tokens and rows of different sizes, so that one's products in place of another's show."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        sizes = [2.0 ** rng.uniform(-2, 2, (count, 1)).astype(np.float32) for count in (tokens, rows)]
        x = (rng.standard_normal((tokens, columns), np.float32) + np.float32(offset)) * sizes[0]
        weight = (rng.standard_normal((rows, columns), np.float32) + np.float32(offset)) * sizes[1]
        return x, weight.astype(dtype)

    return make


def cancelling(rng: np.random.Generator) -> Sequence[Any]:
    """Each product and its opposite somewhere else in the sum, and a little left over."""
    order = rng.permutation(200)
    weight = np.repeat(rng.standard_normal((40, 100)), 2, axis=1)[:, order]
    x = (np.repeat(1e3 * rng.standard_normal((5, 100)), 2, axis=1) * np.tile([1.0, -1.0], 100))[:, order]
    x += rng.standard_normal(x.shape)
    return np.ascontiguousarray(x.astype(np.float32)), np.ascontiguousarray(weight.astype(BFLOAT16))


def special_values(rng: np.random.Generator) -> Sequence[Any]:
    """Infinities and NaN in some tokens and some rows: they stay in theirs, however the tiles are filled up."""
    x, weight = matrices(40, 40, 70)(rng)
    x[3, 69], x[35, 0] = np.nan, np.inf
    weight[20, 33], weight[39, 69] = np.inf, np.nan
    return x, weight


def real_layer(tensor: str) -> Make:
    """A matrix of the first layer, and sixteen tokens with outliers as real ones have."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        x = tensor_rows(MODEL, "model.embed_tokens.weight", rng.integers(0, 49152, 16)).astype(np.float32)
        return x * np.float32(10), tensor_rows(MODEL, f"model.layers.0.{tensor}.weight")

    return make


def short_weight(rng: np.random.Generator) -> Sequence[Any]:
    """Rows of one column too few."""
    return matrices(4, 8, 64)(rng)[0], matrices(4, 8, 63)(rng)[1]


def float32_weight(rng: np.random.Generator) -> Sequence[Any]:
    """A weight that was widened."""
    return matrices(4, 8, 64, dtype=np.dtype(np.float32))(rng)


def bfloat16_tokens(rng: np.random.Generator) -> Sequence[Any]:
    """Tokens that were narrowed."""
    x, weight = matrices(4, 8, 64)(rng)
    return x.astype(BFLOAT16), weight


def one_vector(rng: np.random.Generator) -> Sequence[Any]:
    """A vector in place of the tokens."""
    x, weight = matrices(4, 8, 64)(rng)
    return x[0], weight


MATMUL = Task(
    function="matmul",
    oracle=oracles.product,
    budget=budget.product,
    fresh=True,
    cases=[
        Case("32 × 32 × 32", matrices(32, 32, 32), sanitize=True),
        Case("64 × 96 × 128", matrices(64, 96, 128)),
        Case("36 × 40 × 70", matrices(36, 40, 70), sanitize=True, count_costs=True),
        *(Case(f"{t} × {r} × {c}", matrices(t, r, c), sanitize=t in (1, 33)) for t, r, c in RAGGED),
        Case("far from 0", matrices(20, 40, 200, offset=4.0)),
        Case("signs that cancel", cancelling),
        Case("infinities and NaN", special_values),
        Case("no tokens", matrices(0, 40, 64)),
        Case("no rows", matrices(5, 0, 64)),
        Case("no columns", matrices(5, 40, 0), sanitize=True),
        Case("SmolLM2-135M, 16 × 576 × 576", real_layer("self_attn.q_proj")),
        Case("SmolLM2-135M, 16 × 1536 × 576", real_layer("mlp.up_proj")),
    ],
    bad_input=[
        BadInput("rows one column short", short_weight, "weight"),
        BadInput("float32 weight", float32_weight, "weight"),
        BadInput("bfloat16 tokens", bfloat16_tokens, "x"),
        BadInput("one vector", one_vector, "x"),
    ],
    outputs=("out",),
    cost_limits={
        "global bytes": 1.25,
        "shared wavefronts": 2.0,
        "bank conflicts": 1.5,
        "barriers": 2.0,
        "launches": 1.0,
    },
    speed=Speed(
        "4,096 × 4,096 × 4,096",
        matrices(4096, 4096, 4096),
        operations=lambda args: 2 * args[0].size * len(args[1]),
    ),
)

CHECKS = DayChecks([MATMUL])
