"""Day 10, matrix products on tensor cores: every ragged shape; loads, bytes and trips to shared memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from grader import budget, oracles
from grader.checks.day08 import as_part, whole
from grader.checks.day09 import BFLOAT16, Make, cancelling, matrices, real_layer, special_values
from grader.spec import BadInput, Case, DayChecks, Speed, Task

FLOAT32 = np.dtype(np.float32)
RAGGED = ((1, 1, 1), (17, 15, 16), (63, 65, 64), (65, 63, 72), (2, 100, 7), (100, 2, 129), (33, 48, 1001))


def narrowed(make: Make) -> Make:
    """The same tokens in bfloat16."""

    def narrow(rng: np.random.Generator) -> Sequence[Any]:
        x, weight = make(rng)
        return x.astype(BFLOAT16), weight

    return narrow


def short_weight(rng: np.random.Generator) -> Sequence[Any]:
    """Rows of one column too few."""
    return narrowed(matrices(4, 8, 64))(rng)[0], matrices(4, 8, 63)(rng)[1]


def one_vector(rng: np.random.Generator) -> Sequence[Any]:
    """A vector in place of the tokens."""
    x, weight = narrowed(matrices(4, 8, 64))(rng)
    return x[0], weight


TENSOR_CORE_MATMUL = Task(
    function="tensor_core_matmul",
    oracle=oracles.product,
    budget=budget.tensor_core_product,
    dtype=lambda x, weight: FLOAT32,
    fresh=True,
    cases=[
        Case("64 × 64 × 64", narrowed(matrices(64, 64, 64)), sanitize=True),
        Case("128 × 64 × 192", narrowed(matrices(128, 64, 192))),
        Case("20 × 70 × 80", narrowed(matrices(20, 70, 80)), sanitize=True, count_costs=True),
        *(Case(f"{t} × {r} × {c}", narrowed(matrices(t, r, c)), sanitize=c in (1, 7)) for t, r, c in RAGGED),
        Case("far from 0", narrowed(matrices(20, 40, 200, offset=4.0))),
        Case("signs that cancel", narrowed(cancelling)),
        Case("infinities and NaN", narrowed(special_values)),
        Case("no tokens", narrowed(matrices(0, 40, 64))),
        Case("no rows", narrowed(matrices(5, 0, 64))),
        Case("no columns", narrowed(matrices(5, 40, 0)), sanitize=True),
        Case("SmolLM2-135M, 16 × 576 × 576", narrowed(real_layer("self_attn.q_proj"))),
    ],
    bad_input=[
        BadInput("rows one column short", short_weight, "weight"),
        BadInput("float32 weight", narrowed(matrices(4, 8, 64, dtype=FLOAT32)), "weight"),
        BadInput("float32 tokens", matrices(4, 8, 64), "x"),
        BadInput("one vector", one_vector, "x"),
    ],
    outputs=("out",),
    cost_limits={
        "global bytes": 1.25,
        "global requests": 1.5,
        "shared wavefronts": 1.5,
        "barriers": 2.0,
        "launches": 1.0,
    },
    speed=Speed(
        "4,096 × 4,096 × 4,096",
        narrowed(matrices(4096, 4096, 4096)),
        operations=lambda args: 2 * args[0].size * len(args[1]),
    ),
)

PARTS = Task(
    function="tensor_core_matmul",
    oracle=whole(oracles.product),
    budget=whole(budget.tensor_core_product),
    dtype=lambda *_: FLOAT32,
    cases=[
        Case("x is a part of an array", as_part(0, narrowed(matrices(5, 20, 72))), sanitize=True),
        Case("the weight is a part of an array", as_part(1, narrowed(matrices(5, 20, 64))), sanitize=True),
    ],
    outputs=("out",),
)

CHECKS = DayChecks([TENSOR_CORE_MATMUL, PARTS])
