"""Day 8, matrix times vector: rows and columns of every awkward number, signs that cancel; memory instructions and bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from grader import budget, oracles
from grader.models import tensor_rows
from grader.spec import DTYPES, BadInput, Case, DayChecks, Part, Speed, Task

MODEL = "smollm2-135m"
BFLOAT16 = DTYPES["bfloat16"]
Make = Callable[[np.random.Generator], Sequence[Any]]
AROUND_A_BLOCK = ((1, 64), (7, 64), (9, 64), (100, 64))
AROUND_A_CHUNK = tuple((3, columns) for columns in (1, 7, 9, 31, 33, 255, 257, 1000, 1001, 4099))


def vector_and_matrix(rows: int, columns: int, offset: float = 0.0, dtype: np.dtype = BFLOAT16) -> Make:
    """Rows of different sizes, so that one row's sum in place of another's shows."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        sizes = 2.0 ** rng.uniform(-2, 2, (rows, 1)).astype(np.float32)
        weight = (rng.standard_normal((rows, columns), np.float32) + np.float32(offset)) * sizes
        x = rng.standard_normal(columns, np.float32) + np.float32(offset)
        return x, weight.astype(dtype)

    return make


def cancelling(rng: np.random.Generator) -> Sequence[Any]:
    """Each product and its opposite somewhere else in the row, and a little left over."""
    order = rng.permutation(1000)
    weight = np.ascontiguousarray(np.repeat(rng.standard_normal((4, 500)), 2, axis=1)[:, order].astype(BFLOAT16))
    x = (np.repeat(1e3 * rng.standard_normal(500), 2) * np.tile([1.0, -1.0], 500))[order]
    return (x + rng.standard_normal(1000)).astype(np.float32), weight


def wide_range(rng: np.random.Generator) -> Sequence[Any]:
    """Products from 1e-30 to 1e30 in one row: the smallest change nothing, the largest must not overflow."""
    x, weight = vector_and_matrix(4, 600)(rng)
    scale = 10.0 ** rng.integers(-15, 16, 600)
    return (x * scale).astype(np.float32), (weight.astype(np.float64) * scale).astype(BFLOAT16)


def special_values(rng: np.random.Generator) -> Sequence[Any]:
    """Infinities and NaN in some rows, in chunks of eight and in the rest; the other rows stay as they are."""
    x, weight = vector_and_matrix(7, 300)(rng)
    x[17] = 0.0
    weight[1, 299] = np.inf
    weight[2, 40] = -np.inf
    weight[3, [8, 290]] = np.nan
    weight[4, 17] = np.inf  # times 0
    return x, weight


def real_layer(tensor: str, hidden: int) -> Make:
    """A matrix of the first layer, and a vector with outliers as real ones have."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        embeddings = tensor_rows(MODEL, "model.embed_tokens.weight", rng.integers(0, 49152, 3))
        x = np.resize(embeddings.astype(np.float32), hidden) * np.float32(10)
        return x, tensor_rows(MODEL, f"model.layers.0.{tensor}.weight")

    return make


def short_weight(rng: np.random.Generator) -> Sequence[Any]:
    """Rows of one column too few."""
    x, _ = vector_and_matrix(4, 64)(rng)
    return x, vector_and_matrix(4, 63)(rng)[1]


def float32_weight(rng: np.random.Generator) -> Sequence[Any]:
    """A weight that was widened."""
    return vector_and_matrix(4, 64, dtype=np.dtype(np.float32))(rng)


def bfloat16_vector(rng: np.random.Generator) -> Sequence[Any]:
    """A vector that was narrowed."""
    x, weight = vector_and_matrix(4, 64)(rng)
    return x.astype(BFLOAT16), weight


def several_vectors(rng: np.random.Generator) -> Sequence[Any]:
    """A matrix in place of the vector."""
    x, weight = vector_and_matrix(4, 64)(rng)
    return np.stack([x, x]), weight


MATVEC = Task(
    function="matvec",
    oracle=oracles.product,
    budget=budget.product,
    fresh=True,
    cases=[
        Case("8 × 256", vector_and_matrix(8, 256), sanitize=True),
        Case("13 × 2048", vector_and_matrix(13, 2048), sanitize=True, count_costs=True),
        *(Case(f"{rows} × {n}", vector_and_matrix(rows, n), sanitize=rows in (1, 9)) for rows, n in AROUND_A_BLOCK),
        *(
            Case(f"{rows} × {n}", vector_and_matrix(rows, n), sanitize=n in (7, 257, 1001))
            for rows, n in AROUND_A_CHUNK
        ),
        Case("far from 0", vector_and_matrix(3, 1000, offset=4.0)),
        Case("signs that cancel", cancelling),
        Case("products from 1e-30 to 1e30", wide_range),
        Case("infinities and NaN", special_values),
        Case("no rows", vector_and_matrix(0, 64)),
        Case("no columns", vector_and_matrix(5, 0), sanitize=True),
        Case("SmolLM2-135M, 576 × 576", real_layer("self_attn.q_proj", 576)),
        Case("SmolLM2-135M, 576 × 1536", real_layer("mlp.down_proj", 1536)),
    ],
    bad_input=[
        BadInput("rows one column short", short_weight, "weight"),
        BadInput("float32 weight", float32_weight, "weight"),
        BadInput("bfloat16 vector", bfloat16_vector, "x"),
        BadInput("several vectors", several_vectors, "x"),
    ],
    outputs=("out",),
    cost_limits={"global bytes": 1.1, "global requests": 1.5, "launches": 1.0},
    speed=Speed(
        "8,192 × 8,192",
        vector_and_matrix(8192, 8192),
        bytes_moved=lambda args: args[1].nbytes + args[0].nbytes + 4 * len(args[1]),
    ),
)


def as_part(number: int, make: Make) -> Make:
    """The arguments of `make`, of which one is a part of a larger array."""

    def cut(rng: np.random.Generator) -> Sequence[Any]:
        args = list(make(rng))
        args[number] = Part(args[number])
        return args

    return cut


def whole(function: Callable[..., Any]) -> Callable[..., Any]:
    """That function of arguments some of which may be parts."""
    return lambda *args: function(*(a.values if isinstance(a, Part) else a for a in args))


PARTS = Task(
    function="matvec",
    oracle=whole(oracles.product),
    budget=whole(budget.product),
    dtype=whole(lambda x, _: x.dtype),
    cases=[
        Case("x is a part of an array", as_part(0, vector_and_matrix(5, 520)), sanitize=True),
        Case("the weight is a part of an array", as_part(1, vector_and_matrix(5, 512)), sanitize=True),
    ],
    outputs=("out",),
)

CHECKS = DayChecks([MATVEC, PARTS])
