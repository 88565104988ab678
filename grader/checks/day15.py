"""Day 15, SwiGLU and the MLP: every remainder of four, gates at both ends, a real layer; loads, launches, bytes."""

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


def fixed(*args: Any) -> Make:
    """Arguments that need no random numbers."""
    return lambda _: args


def pair(tokens: int, intermediate: int, spread: float = 3.0) -> Make:
    """Gates of both signs and ups: tokens differ in size, so that one in place of another shows."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        sizes = 2.0 ** rng.uniform(-1, 1, (2, tokens, 1))
        gate, up = rng.standard_normal((2, tokens, intermediate)) * sizes
        return (spread * gate).astype(np.float32), up.astype(np.float32)

    return make


def far_gates(rng: np.random.Generator) -> Sequence[Any]:
    """Gates from -1e30 to 1e30, some just above and below where exponentials overflow."""
    up = rng.standard_normal((6, 40)).astype(np.float32)
    gate = rng.uniform(-1, 1, (6, 40)) * 10.0 ** np.array([[0], [1], [2], [3], [10], [30]])
    gate[0, :8] = [-103.5, -89, -88.5, -87, 87, 88.5, 89, 103.5]
    return gate.astype(np.float32), up


def special(rng: np.random.Generator) -> Sequence[Any]:
    """NaN, infinities and zeros on either side, in a group of four and in the last, incomplete one."""
    gate, up = (array.copy() for array in pair(3, 35)(rng))
    gate[0, [1, 34]] = np.nan, np.inf
    gate[1, [2, 3]] = -np.inf, 0.0
    up[2, [0, 5, 34]] = np.nan, np.inf, -np.inf
    up[1, 7] = 0.0
    return gate, up


def layer(tokens: int, hidden: int, intermediate: int) -> Make:
    """Weights that keep gates around 1; rows differ in size, so that one in place of another shows."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        def weight(rows: int, columns: int) -> np.ndarray:
            sizes = 2.0 ** rng.uniform(-1, 1, (rows, 1)) / np.sqrt(columns)
            return (rng.standard_normal((rows, columns)) * sizes).astype(BFLOAT16)

        x = rng.standard_normal((tokens, hidden)) * 2.0 ** rng.uniform(-1, 1, (tokens, 1))
        return (
            x.astype(np.float32),
            weight(intermediate, hidden),
            weight(intermediate, hidden),
            weight(hidden, intermediate),
        )

    return make


def real_layer(tokens: int) -> Make:
    """The first layer's MLP on normed embeddings."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        x = tensor_rows(MODEL, "model.embed_tokens.weight", rng.integers(0, 49152, tokens)).astype(np.float32)
        norm = tensor_rows(MODEL, "model.layers.0.post_attention_layernorm.weight").astype(np.float32)
        x = x / np.sqrt((x * x).mean(axis=1, keepdims=True) + 1e-5) * norm
        return x, *(tensor_rows(MODEL, f"model.layers.0.mlp.{which}_proj.weight") for which in ("gate", "up", "down"))

    return make


def wrong_layer(number: int, change: Callable[[np.ndarray], np.ndarray]) -> Make:
    """A layer of which one argument is wrong."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        args = list(layer(2, 16, 24)(rng))
        args[number] = np.ascontiguousarray(change(args[number]))
        return args

    return make


SWIGLU = Task(
    function="swiglu",
    oracle=oracles.swiglu,
    budget=budget.swiglu,
    fresh=True,
    cases=[
        Case("1 × 1024", pair(1, 1024), sanitize=True),
        Case("3 × 1000", pair(3, 1000), count_costs=True),
        *(Case(f"1 × {n}", pair(1, n), sanitize=n in (1, 3)) for n in (1, 2, 3, 4, 5, 1023, 1025)),
        *(Case(f"{t} × {n}", pair(t, n), sanitize=n == 33) for t, n in ((3, 31), (5, 33), (7, 1536), (2, 4099))),
        Case("gates far from 0", far_gates),
        Case("NaN, infinities, zeros", special),
        Case("small gates", pair(3, 200, spread=1e-6)),
        Case("no tokens", fixed(np.zeros((0, 8), np.float32), np.zeros((0, 8), np.float32))),
    ],
    bad_input=[
        BadInput("up of another shape", fixed(np.zeros((2, 8), np.float32), np.zeros((2, 7), np.float32)), "up"),
        BadInput("one dimension", fixed(np.zeros(8, np.float32), np.zeros(8, np.float32)), "gate"),
        BadInput("float16", fixed(np.zeros((2, 8), np.float16), np.zeros((2, 8), np.float16)), "gate"),
    ],
    outputs=("out",),
    cost_limits={"global requests": 1.5, "global bytes": 1.25, "launches": 1.0},
    speed=Speed("4,096 × 8,192", pair(4096, 8192), bytes_moved=lambda args: 3 * args[0].nbytes),
)

MLP = Task(
    function="mlp",
    oracle=oracles.mlp,
    budget=budget.mlp,
    cases=[
        Case("1 token, 64 to 160", layer(1, 64, 160)),
        Case("3 tokens, 33 to 70", layer(3, 33, 70)),
        Case("17 tokens, 64 to 100", layer(17, 64, 100), count_costs=True),
        Case("layer without tokens", layer(0, 24, 32)),
        Case("SmolLM2-135M layer 0, 1 token", real_layer(1)),
        Case("SmolLM2-135M layer 0, 5 tokens", real_layer(5)),
    ],
    bad_input=[
        BadInput("w_up one row short", wrong_layer(2, lambda w: w[:-1]), "w_up"),
        BadInput("w_down not turned", wrong_layer(3, lambda w: w.T), "w_down"),
        BadInput("float32 w_gate", wrong_layer(1, lambda w: w.astype(np.float32)), "w_gate"),
        BadInput("bfloat16 x", wrong_layer(0, lambda x: x.astype(BFLOAT16)), "x"),
    ],
    outputs=("out",),
    cost_limits={"launches": 1.0, "global bytes": 1.25},
)

CHECKS = DayChecks([SWIGLU, MLP])
