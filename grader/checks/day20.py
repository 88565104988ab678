"""Day 20, decode attention: one query, caches that are longer than what counts and poisoned behind it, bytes moved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from grader import budget, oracles
from grader.attention_inputs import Change, Make, changed, far_from_zero, first_outweighs, qkv, real, same_keys
from grader.spec import Allowed, BadInput, Case, DayChecks, Speed, Task

MODEL = "smollm2-135m"
SPARE = 3  # rows behind the length, where a case does not say
TOO_LONG = 60_000  # scores that no GPU's shared memory holds for one block


def decode(length: int, heads: int, kv_heads: int, head_dim: int = 64, spare: int = SPARE, scale: float = 2.0) -> Make:
    """One query against a cache with `length` rows, and NaN in `spare` more."""
    return poisoned(qkv(1, length + spare, heads, kv_heads, head_dim, scale), spare)


def poisoned(make: Make, spare: int = SPARE) -> Make:
    """The arguments of day 14 for one query, as this day has them; the last `spare` rows are NaN."""

    def cut(rng: np.random.Generator) -> Sequence[Any]:
        q, k, v = make(rng)
        length = len(k) - spare
        k[length:] = v[length:] = np.nan
        return np.ascontiguousarray(q[0]), k, v, length

    return cut


def changed_all(change: Change) -> Make:
    """A full cache, all keys of which are changed together: without NaN in it, a NaN in the result is the lesson's own."""
    return poisoned(changed(qkv(1, 33, 4, 2), change), 0)


def but(change: Callable[[np.ndarray, np.ndarray, np.ndarray, int], Sequence[Any]]) -> Make:
    """Arguments that must be refused: good ones, after a change."""
    return lambda rng: change(*decode(9, 4, 2)(rng))


def huge_tail(rng: np.random.Generator) -> Sequence[Any]:
    """Behind the length, keys that outweigh all others."""
    q, k, v, length = decode(40, 4, 2, spare=60)(rng)
    k[length:], v[length:] = 1e4 * np.sign(q[0]), 1e30
    return q, k, v, length


def expected(q: np.ndarray, k: np.ndarray, v: np.ndarray, length: int) -> np.ndarray:
    """Day 14's oracle for one query, on the rows that count."""
    return oracles.attention(q[None], k[:length], v[:length])[0]


def allowed(q: np.ndarray, k: np.ndarray, v: np.ndarray, length: int) -> Allowed:
    """Day 14's budget, too."""
    return Allowed(0.0, budget.attention(q[None], k[:length], v[:length]).absolute[0])


def cache_bytes(args: Sequence[Any]) -> int:
    """The rows of K and V that count, each once; q and the result."""
    q, k, _, length = args
    return 2 * q.nbytes + 2 * length * k[0].nbytes


DECODE = Task(
    function="decode_attention",
    oracle=expected,
    budget=allowed,
    cases=[
        Case("1 key, 1 head", decode(1, 1, 1, spare=0)),
        Case("5 keys, 3 heads on 3", decode(5, 3, 3), sanitize=True),
        Case("5 keys, 9 heads on 3", decode(5, 9, 3)),
        Case("40 keys, 8 heads on 2", decode(40, 8, 2)),
        Case("40 keys, 8 heads on 1", decode(40, 8, 1)),
        *(Case(f"{n} keys, 6 heads on 2", decode(n, 6, 2), sanitize=n == 33) for n in (2, 15, 16, 17, 31, 32, 33, 513)),
        *(Case(f"heads of {n}", decode(37, 4, 2, n, spare=0), sanitize=n == 33) for n in (1, 31, 33, 100, 128, 256)),
        Case("4,095 keys of 5,000", decode(4095, 3, 1, spare=905)),
        Case("4,096 keys, 8 heads on 1", decode(4096, 8, 1, spare=0)),
        Case("huge keys behind the length", huge_tail),
        Case("scores far from 0", changed_all(far_from_zero)),
        Case("the first key outweighs all", changed_all(first_outweighs)),
        Case("scores far apart", decode(33, 4, 2, scale=40.0)),
        Case("all keys alike", changed_all(same_keys)),
        Case("SmolLM2-135M layer 0, real heads", poisoned(real(MODEL, 1, 40))),
        Case("64 keys, 8 heads of 128 on 2", decode(64, 8, 2, 128), count_costs=True),
    ],
    bad_input=[
        BadInput("a length of 0", but(lambda q, k, v, n: (q, k, v, 0)), "length"),
        BadInput("a length past the capacity", but(lambda q, k, v, n: (q, k, v, len(k) + 1)), "length"),
        BadInput("heads that no group divides", but(lambda q, k, v, n: (q[:3].copy(), k, v, n)), "k"),
        BadInput("a query with a row for a token", but(lambda q, k, v, n: (q[None], k, v, n)), "q"),
        BadInput("values of fewer rows", but(lambda q, k, v, n: (q, k, v[1:], n)), "v"),
        BadInput("too many keys for shared memory", decode(TOO_LONG, 1, 1, 1), ("length", "shared memory")),
    ],
    outputs=("out",),
    cost_limits={"global bytes": 1.25, "host bytes": 1.2, "bank conflicts": 2.0, "barriers": 2.0},
    speed=Speed("4,096 keys, 32 heads on 8", decode(4096, 32, 8, spare=0), bytes_moved=cache_bytes),
)

CHECKS = DayChecks([DECODE])
