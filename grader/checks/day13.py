"""Day 13, causal attention: awkward lengths, causality, extreme scores, and what the matrix of scores takes."""

from __future__ import annotations

from grader import budget, oracles
from grader.attention_inputs import (
    Make,
    changed,
    far_below,
    far_from_zero,
    huge_from,
    nan_from,
    operations,
    qkv,
    real,
    same_keys,
)
from grader.spec import BadInput, Case, DayChecks, Speed, Task

MODEL = "smollm2-135m"


def tokens(count: int, heads: int, head_dim: int = 64, scale: float = 2.0) -> Make:
    """Queries, keys and values of as many tokens, all with as many heads."""
    return qkv(count, count, heads, heads, head_dim, scale)


def sizes(count: int, heads: int) -> Make:
    """Arguments of `score_bytes`."""
    return lambda _: (count, heads)


ATTENTION = Task(
    function="causal_attention",
    oracle=oracles.attention,
    budget=budget.attention,
    fresh=True,
    cases=[
        Case("1 token, 1 head", tokens(1, 1)),
        Case("9 tokens, 1 head", tokens(9, 1), sanitize=True),
        Case("9 tokens, 3 heads", tokens(9, 3), sanitize=True),
        *(Case(f"{n} tokens, 2 heads", tokens(n, 2), sanitize=n == 33) for n in (2, 31, 32, 33, 100)),
        Case("130 tokens, 1 head", tokens(130, 1)),
        *(Case(f"heads of {n}", tokens(11, 2, n), sanitize=n == 33) for n in (1, 31, 33, 100, 256)),
        Case("scores far from 0", changed(tokens(33, 2), far_from_zero)),
        Case("scores around -30 000", changed(tokens(33, 2), far_below)),
        Case("scores far apart", tokens(33, 2, scale=40.0)),
        Case("all keys alike", changed(tokens(33, 2), same_keys)),
        Case("NaN from token 20 on", changed(tokens(40, 2), nan_from(20))),
        Case("huge keys from token 20 on", changed(tokens(40, 2), huge_from(20))),
        Case("SmolLM2-135M layer 0, real heads", real(MODEL, 24, 24, kv_heads=9)),
        Case("no tokens", tokens(0, 2)),
        Case("80 tokens, 3 heads of 24", tokens(80, 3, 24), count_costs=True),
    ],
    bad_input=[
        BadInput("keys of fewer tokens", changed(tokens(9, 2), lambda q, k, v: (q, k[1:], v)), "k"),
        BadInput("values of fewer heads", changed(tokens(9, 2), lambda q, k, v: (q, k, v[:, :1])), "v"),
        BadInput("queries without columns", tokens(9, 2, 0), "q"),
    ],
    outputs=("attention_scores:scores", "weighted_sums:out"),
    cost_limits={"global bytes": 1.25, "host bytes": 1.2, "barriers": 2.0, "launches": 1.0},
    speed=Speed(
        "2,048 tokens, 32 heads",
        tokens(2048, 32),
        operations=operations,
    ),
)

SCORE_BYTES = Task(
    function="score_bytes",
    oracle=lambda count, heads: 4 * heads * count * count,
    cases=[
        *(
            Case(f"scores of {n:,} tokens, {heads} heads", sizes(n, heads))
            for n, heads in ((1, 1), (100, 9), (131_072, 32))
        ),
        Case("scores of no tokens", sizes(0, 32)),
    ],
)

CHECKS = DayChecks([ATTENTION, SCORE_BYTES])
