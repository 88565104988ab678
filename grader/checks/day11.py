"""Day 11, RoPE: Transformers' frequencies and tables up to position 131,071; awkward heads; positions in any order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from grader import budget, goldens, oracles
from grader.models import tensor_rows
from grader.spec import BadInput, Case, DayChecks, Speed, Task

MODEL = "smollm2-135m"
Make = Callable[[np.random.Generator], Sequence[Any]]
TABLES = goldens.load("rope")["tables"]
POSITIONS = np.array(goldens.load("rope")["positions"], np.int32)
LLAMA_3_2 = TABLES["theta 500,000, llama3"]["scaling"]


def fixed(*args: Any) -> Make:
    """Arguments that need no random numbers."""
    return lambda _: args


def frequencies(head_dim: int, theta: float = 10_000.0) -> np.ndarray:
    """Unscaled frequencies, as rope's argument."""
    return (theta ** (-np.arange(0, head_dim, 2) / head_dim)).astype(np.float32)


def activations(rng: np.random.Generator, tokens: int, heads: int, head_dim: int) -> np.ndarray:
    """Normal numbers; tokens and heads differ in size, so that one in place of another shows."""
    sizes = 2.0 ** rng.uniform(-2, 2, (tokens, heads, 1))
    return (rng.standard_normal((tokens, heads, head_dim)) * sizes).astype(np.float32)


def tokens(count: int, heads: int, head_dim: int, highest: int = 2000) -> Make:
    """Tokens at random positions, in no order, some of them twice."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        positions = rng.integers(0, highest, count).astype(np.int32)
        return activations(rng, count, heads, head_dim), positions, frequencies(head_dim)

    return make


def stored(name: str, heads: int) -> Make:
    """Fresh numbers at the positions and with the frequencies of a stored table."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        table = TABLES[name]
        x = activations(rng, len(POSITIONS), heads, table["head_dim"])
        return x, POSITIONS, np.array(table["inverse_frequencies"], np.float32)

    return make


def outliers(rng: np.random.Generator) -> Sequence[Any]:
    """NaN, infinity, zeros and both ends of float32's range, which stay in their pairs."""
    x = activations(rng, 3, 2, 16)
    x[0, 1, 5], x[1, 0, 12] = np.nan, np.inf
    x[2, 0, [0, 8]] = 0.0
    x[2, 1, [1, 9]] = 1e38, -1e38
    x[0, 0, [2, 10]] = 1e-30, 2e-30
    return x, np.array([3, 11, 4], np.int32), frequencies(16)


def real_queries(rng: np.random.Generator) -> Sequence[Any]:
    """Sixteen embeddings through a real query matrix: 9 heads of 64."""
    x = tensor_rows(MODEL, "model.embed_tokens.weight", rng.integers(0, 49152, 16)).astype(np.float32)
    weight = tensor_rows(MODEL, "model.layers.0.self_attn.q_proj.weight").astype(np.float32)
    positions = np.arange(300, 316, dtype=np.int32)
    return (x @ weight.T).reshape(16, 9, 64), positions, frequencies(64, 100_000.0)


def without(field: str) -> dict[str, Any]:
    """A scaling that lacks a field."""
    return {name: value for name, value in LLAMA_3_2.items() if name != field}


FREQUENCIES = Task(
    function="inverse_frequencies",
    oracle=oracles.inverse_frequencies,
    budget=budget.inverse_frequencies,
    dtype=lambda *_: np.dtype(np.float32),
    cases=[
        *(
            Case(f"Transformers: {name}", fixed(table["head_dim"], table["theta"], table["scaling"]))
            for name, table in TABLES.items()
        ),
        *(Case(f"head of {n}", fixed(n, 10_000.0)) for n in (2, 6, 80, 96)),
        Case("head of 16, llama3, context 64", fixed(16, 5e5, {**LLAMA_3_2, "original_max_position_embeddings": 64})),
        Case(
            "head of 64, llama3, factors 2 and 16",
            fixed(64, 5e5, {**LLAMA_3_2, "low_freq_factor": 2.0, "high_freq_factor": 16.0}),
        ),
        Case("rope_type default", fixed(64, 1e5, {"rope_type": "default"})),
    ],
    bad_input=[
        BadInput("odd head_dim", fixed(63, 10_000.0), "head_dim"),
        BadInput("theta of 0", fixed(64, 0.0), "theta"),
        BadInput("unknown scaling", fixed(64, 10_000.0, {"rope_type": "yarn", "factor": 4.0}), ("rope_type", "yarn")),
        BadInput("scaling without factor", fixed(64, 5e5, without("factor")), "factor"),
        BadInput(
            "scaling without context",
            fixed(64, 5e5, without("original_max_position_embeddings")),
            "original_max_position_embeddings",
        ),
        BadInput("equal factors", fixed(64, 5e5, {**LLAMA_3_2, "low_freq_factor": 4.0}), "low_freq_factor"),
    ],
)

ROPE = Task(
    function="rope",
    oracle=oracles.rope,
    budget=budget.rope,
    fresh=True,
    cases=[
        Case("7 tokens, 3 heads of 64", tokens(7, 3, 64), sanitize=True),
        Case("1 token, 32 heads of 64", tokens(1, 32, 64)),
        Case("5 tokens, 9 heads of 64", tokens(5, 9, 64), count_costs=True),
        Case("2 tokens, 1 head of 2", tokens(2, 1, 2), sanitize=True),
        *(Case(f"3 tokens, 5 heads of {n}", tokens(3, 5, n), sanitize=n == 66) for n in (6, 62, 66, 80, 128)),
        Case("2 tokens, 2 heads of 768", tokens(2, 2, 768), sanitize=True),
        Case("positions up to 131,071", tokens(64, 2, 64, highest=131_072)),
        Case("NaN, infinity, zeros, both ends", outliers),
        Case("SmolLM2-135M layer 0, real queries", real_queries),
        Case("no tokens", fixed(np.zeros((0, 4, 64), np.float32), np.zeros(0, np.int32), frequencies(64))),
    ],
    bad_input=[
        BadInput(
            "positions of another length",
            fixed(np.zeros((3, 2, 8), np.float32), np.zeros(2, np.int32), frequencies(8)),
            "positions",
        ),
        BadInput(
            "int64 positions",
            fixed(np.zeros((3, 2, 8), np.float32), np.zeros(3, np.int64), frequencies(8)),
            "positions",
        ),
        BadInput(
            "a frequency for each number",
            fixed(np.zeros((3, 2, 8), np.float32), np.zeros(3, np.int32), frequencies(16)),
            "frequencies",
        ),
        BadInput("odd heads", fixed(np.zeros((3, 2, 7), np.float32), np.zeros(3, np.int32), frequencies(6)), "x"),
        BadInput("float16", fixed(np.zeros((3, 2, 8), np.float16), np.zeros(3, np.int32), frequencies(8)), "x"),
    ],
    outputs=("out",),
    cost_limits={"global bytes": 1.25, "barriers": 2.0, "bank conflicts": 2.0, "launches": 1.0},
    speed=Speed("4,096 tokens, 32 heads of 64", tokens(4096, 32, 64), bytes_moved=lambda args: 2 * args[0].nbytes),
)

BY_TABLE = Task(
    function="rope",
    oracle=oracles.rope_by_table,
    budget=budget.rope,
    cases=[Case(f"Transformers' table: {name}", stored(name, 2)) for name in TABLES],
    outputs=("out",),
)

CHECKS = DayChecks([FREQUENCIES, ROPE, BY_TABLE])
