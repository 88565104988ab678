"""Day 5, embedding: exact rows of every awkward width, large vocabularies, and ids that are no tokens refused on the host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from grader import oracles
from grader.models import tensor_rows
from grader.spec import DTYPES, BadInput, Case, DayChecks, Speed, Task

MODEL = "smollm2-135m"
Make = Callable[[np.random.Generator], Sequence[Any]]


def table_of(rng: np.random.Generator, vocabulary: int, hidden: int, dtype: str) -> np.ndarray:
    """Random bits: no two rows alike, and NaN among them, which only a copy keeps."""
    kind = DTYPES[dtype]
    return np.frombuffer(rng.bytes(vocabulary * hidden * kind.itemsize), kind).reshape(vocabulary, hidden)


def gather(tokens: int, vocabulary: int, hidden: int, dtype: str) -> Make:
    """Random tokens, among them the first and the last of the vocabulary."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        ids = rng.integers(0, vocabulary, tokens, dtype=np.int32)
        ids[:2] = (vocabulary - 1, 0)[:tokens]
        return ids, table_of(rng, vocabulary, hidden, dtype)

    return make


def repeated(rng: np.random.Generator) -> Sequence[Any]:
    """One token again and again."""
    return np.full(20, 3, np.int32), table_of(rng, 5, 100, "float32")


def real_rows(rng: np.random.Generator) -> Sequence[Any]:
    """Rows of a real table."""
    table = tensor_rows(MODEL, "model.embed_tokens.weight")[:8192]
    return rng.integers(0, len(table), 50, dtype=np.int32), np.ascontiguousarray(table)


def prompt(tokens: int, vocabulary: int) -> Make:
    """A text's ids on the host, the first and the last of the vocabulary among them."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        ids = [vocabulary - 1, 0, *rng.integers(0, vocabulary, tokens).tolist()][:tokens]
        return ids, vocabulary

    return make


def with_id(wrong: int, position: int = 41, vocabulary: int = 515) -> Make:
    """A text in which one id is not what it should be, and another one after it."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        ids = rng.integers(0, vocabulary, 64).tolist()
        ids[position] = ids[position + 5] = wrong
        return ids, vocabulary

    return make


def given(*args: Any) -> Make:
    """Arguments that need no random numbers."""
    return lambda _: args


IDS, TABLE = np.zeros(4, np.int32), np.zeros((8, 16), np.float32)

EMBEDDING = Task(
    function="embedding",
    oracle=oracles.embedding,
    fresh=True,
    cases=[
        Case("7 tokens, 100 × 1000 float32", gather(7, 100, 1000, "float32"), sanitize=True, count_costs=True),
        Case("300 tokens, 100 × 576 bfloat16", gather(300, 100, 576, "bfloat16")),
        *(
            Case(f"5 tokens, 40 × {n} float32", gather(5, 40, n, "float32"), sanitize=n in (1, 33))
            for n in (1, 31, 33, 257)
        ),
        *(
            Case(f"5 tokens, 40 × {n} bfloat16", gather(5, 40, n, "bfloat16"), sanitize=n == 33)
            for n in (33, 255, 4099)
        ),
        Case("1 token", gather(1, 40, 2048, "bfloat16")),
        Case("a vocabulary of 131,072", gather(64, 131_072, 8, "bfloat16")),
        Case("one token again and again", repeated),
        Case("rows of no columns", gather(3, 40, 0, "float32")),
        Case("no tokens", gather(0, 40, 64, "float32")),
        Case("SmolLM2-135M, real rows", real_rows),
    ],
    bad_input=[
        BadInput("ids int64", given(IDS.astype(np.int64), TABLE), "ids"),
        BadInput("ids a matrix", given(IDS.reshape(2, 2), TABLE), "ids"),
        BadInput("table float64", given(IDS, TABLE.astype(np.float64)), "table"),
        BadInput("table a vector", given(IDS, TABLE[0]), "table"),
    ],
    outputs=("out",),
    cost_limits={"global bytes": 1.25, "launches": 1.0},
    speed=Speed(
        "16,384 tokens, 32,768 × 2,048 bfloat16",
        gather(16_384, 32_768, 2048, "bfloat16"),
        bytes_moved=lambda args: 2 * len(args[0]) * args[1][0].nbytes + args[0].nbytes,
    ),
)

TOKEN_IDS = Task(
    function="token_ids",
    oracle=oracles.token_ids,
    cases=[
        Case("ids of 50 tokens", prompt(50, 49152)),
        Case("ids of 1 token", prompt(1, 1)),
        Case("ids of a large vocabulary", prompt(50, 200_000)),
        Case("ids of an empty text", prompt(0, 515)),
    ],
    bad_input=[
        BadInput("an id far past the vocabulary", with_id(70203), ("70203", "41", "515")),
        BadInput("an id as large as the vocabulary", with_id(515), ("515", "41")),
        BadInput("a negative id", with_id(-1), ("-1", "41", "515")),
        BadInput("an id past 32 bits", with_id(2**32 + 7), (str(2**32 + 7), "41", "515")),
        BadInput("ids that are no whole numbers", given([1.0, 2.5], 515), "ids"),
    ],
)

CHECKS = DayChecks([EMBEDDING, TOKEN_IDS])
