"""Day 14, grouped query attention: heads that share K and V, caches longer than the queries, causality, bytes moved."""

from __future__ import annotations

from grader import budget, oracles
from grader.attention_inputs import (
    Make,
    changed,
    far_below,
    far_from_zero,
    first_outweighs,
    huge_from,
    nan_from,
    operations,
    qkv,
    real,
    same_keys,
)
from grader.spec import BadInput, Case, DayChecks, Speed, Task

MODEL = "smollm2-135m"
TOO_LONG = 60_000  # scores that no GPU's shared memory holds for one block
MORE_THAN_48_KIB = 13_000  # scores, where a kernel has to ask for room


def group(heads: int, kv_heads: int, tokens: int = 9, length: int = 9, head_dim: int = 64) -> Make:
    """Shorter names for what most cases vary."""
    return qkv(tokens, length, heads, kv_heads, head_dim)


ATTENTION = Task(
    function="attention",
    oracle=oracles.attention,
    budget=budget.attention,
    fresh=True,
    cases=[
        Case("1 token, 1 head", group(1, 1, 1, 1)),
        Case("9 tokens, 3 heads", group(3, 3), sanitize=True),
        Case("5 tokens, 9 heads on 3", group(9, 3, 5, 5), sanitize=True),
        Case("9 tokens, 8 heads on 2", group(8, 2)),
        Case("9 tokens, 8 heads on 1", group(8, 1)),
        Case("12 tokens, 16 heads on 4", group(16, 4, 12, 12)),
        *(Case(f"{n} tokens, 4 heads on 2", group(4, 2, n, n)) for n in (2, 31, 32, 33)),
        Case("100 tokens, 2 heads on 1", group(2, 1, 100, 100)),
        Case("1 query, 100 tokens, 8 heads on 2", group(8, 2, 1, 100), sanitize=True),
        Case("3 queries, 33 tokens, 6 heads on 2", group(6, 2, 3, 33), sanitize=True),
        Case("5 queries, 300 tokens, 4 heads on 1", group(4, 1, 5, 300)),
        *(Case(f"heads of {n}", group(4, 2, 5, 11, n), sanitize=n == 33) for n in (1, 31, 33, 100, 128, 256)),
        Case("1 query, 13 000 tokens", group(1, 1, 1, MORE_THAN_48_KIB)),
        Case("scores far from 0", changed(group(4, 2, 9, 33), far_from_zero)),
        Case("scores around -30 000", changed(group(4, 2, 9, 33), far_below)),
        Case("the first key outweighs all", changed(group(4, 2, 9, 33), first_outweighs)),
        Case("scores far apart", qkv(9, 33, 4, 2, scale=40.0)),
        Case("all keys alike", changed(group(4, 2, 9, 33), same_keys)),
        Case("NaN from token 20 on", changed(group(4, 2, 25, 40), nan_from(20))),
        Case("huge keys from token 20 on", changed(group(4, 2, 25, 40), huge_from(20))),
        Case("SmolLM2-135M layer 0, real heads", real(MODEL, 24, 40)),
        Case("no queries", group(4, 2, 0, 5)),
        Case("40 tokens, 4 heads on 1", group(4, 1, 40, 40), count_costs=True),
    ],
    bad_input=[
        BadInput("fewer keys than queries", group(4, 2, 9, 8), "k"),
        BadInput("heads that no group divides", group(4, 3), "k"),
        BadInput("too many tokens for shared memory", group(1, 1, 1, TOO_LONG, 1), ("k", "shared memory")),
        BadInput("keys of another head_dim", changed(group(4, 2), lambda q, k, v: (q, k[..., :32], v[..., :32])), "k"),
        BadInput("values of fewer tokens", changed(group(4, 2), lambda q, k, v: (q, k, v[1:])), "v"),
        BadInput("heads of 257", group(4, 2, 3, 3, 257), "q"),
    ],
    outputs=("out",),
    cost_limits={"global bytes": 1.25, "host bytes": 1.2, "bank conflicts": 2.0, "barriers": 2.0, "launches": 1.0},
    speed=Speed(
        "2,048 tokens, 32 heads on 8",
        group(32, 8, 2048, 2048),
        operations=operations,
    ),
)

CHECKS = DayChecks([ATTENTION])
