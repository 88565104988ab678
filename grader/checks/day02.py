"""Day 2, a first kernel: every bfloat16 there is, awkward lengths, and nothing written behind the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from grader import oracles
from grader.models import tensor_rows
from grader.spec import DTYPES, BadInput, Case, DayChecks, Speed, Task

MODEL = "smollm2-135m"
SPARE = 300  # elements of dst behind the last that is to be written: more than a block
Make = Callable[[np.random.Generator], Sequence[Any]]


def canary(rng: np.random.Generator, size: int) -> np.ndarray:
    """What dst holds before the call: any bits, so that a change of any one shows."""
    return rng.integers(0, 2**32, size, dtype=np.uint32).view(np.float32)


def numbers(n: int, spare: int = SPARE) -> Make:
    """Random bits: numbers of every size, subnormal ones, infinities and NaN among them."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        src = rng.integers(0, 2**16, n, dtype=np.uint16).view(DTYPES["bfloat16"])
        return src, canary(rng, n + spare)

    return make


def all_numbers(rng: np.random.Generator) -> Sequence[Any]:
    """All 65,536 bfloat16, in any order."""
    src = rng.permutation(2**16).astype(np.uint16).view(DTYPES["bfloat16"])
    return src, canary(rng, len(src) + SPARE)


def weights(rng: np.random.Generator) -> Sequence[Any]:
    """Rows of a real embedding table."""
    src = tensor_rows(MODEL, "model.embed_tokens.weight", rng.integers(0, 49152, 33)).reshape(-1)
    return src, canary(rng, len(src) + SPARE)


def wrong(src: np.ndarray, dst: np.ndarray) -> Make:
    """Arguments that need no random numbers."""
    return lambda _: (src, dst)


EIGHT = np.ones(8, DTYPES["bfloat16"])

WIDEN = Task(
    function="widen",
    oracle=oracles.widen,
    in_place=1,
    cases=[
        Case("1,000 numbers", numbers(1000), sanitize=True, count_costs=True),
        *(Case(f"n = {n:,}", numbers(n), sanitize=n in (1, 257)) for n in (1, 255, 256, 257, 509, 100_003)),
        Case("dst as long as src", numbers(300, spare=0), sanitize=True),
        Case("all 65,536 bfloat16", all_numbers),
        Case("nothing to do", numbers(0)),
        Case("SmolLM2-135M embeddings", weights),
    ],
    bad_input=[
        BadInput("dst one element short", wrong(EIGHT, np.zeros(7, np.float32)), "dst"),
        BadInput("dst float64", wrong(EIGHT, np.zeros(8)), "dst"),
        BadInput("src float32", wrong(np.ones(8, np.float32), np.zeros(8, np.float32)), "src"),
        BadInput("src two-dimensional", wrong(EIGHT.reshape(2, 4), np.zeros(8, np.float32)), "src"),
    ],
    cost_limits={"global bytes": 1.25, "launches": 1.0},
    speed=Speed("16,777,216 numbers", numbers(2**24), bytes_moved=lambda args: 6 * len(args[0])),
)

CHECKS = DayChecks([WIDEN])
