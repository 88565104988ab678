"""Day 22, sampling: probabilities after each filter, ties at the edges, random bits, how often tokens come."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from grader import budget, oracles
from grader.models import tensor_rows
from grader.spec import Allowed, BadInput, Case, DayChecks, Speed, Task

MODEL = "smollm2-135m"
INFINITY = np.float32(np.inf)
FLOAT64 = np.dtype(np.float64)
Make = Callable[[np.random.Generator], Sequence[Any]]
Settings = Mapping[str, Any]


def logits(rng: np.random.Generator, rows: int, vocab: int, spread: float = 3.0) -> np.ndarray:
    """Rows of different sizes and centres, so that one row's numbers in place of another's show."""
    sizes = spread * 2.0 ** rng.uniform(-1, 1, (rows, 1))
    return (rng.standard_normal((rows, vocab)) * sizes + 5 * rng.standard_normal((rows, 1))).astype(np.float32)


def texts(rng: np.random.Generator, rows: int, vocab: int) -> list[list[int]]:
    """A text for each row, of different lengths, with tokens that come twice; the first has none."""
    return [rng.integers(0, vocab, 7 * row).tolist() * 2 for row in range(rows)]


def plain(rows: int, vocab: int, **settings: Any) -> Make:
    """Random logits and texts."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        return settled(logits(rng, rows, vocab), texts(rng, rows, vocab), settings)

    return make


def settled(x: np.ndarray, history: list[list[int]], settings: Settings) -> Sequence[Any]:
    """The same with top_p and min_p lowered until no rounding decides which tokens are kept."""
    shares = {name: settings[name] for name in ("top_p", "min_p") if name in settings}

    def kept(times: float) -> np.ndarray:
        return oracles.sampling(x, history, {**settings, **{n: min(1.0, times * v) for n, v in shares.items()}}) > 0

    while shares and not np.array_equal(kept(1 - 1e-5), kept(1 + 1e-5)):
        shares = {name: value * 0.999 for name, value in shares.items()}
    return x, history, {**settings, **shares}


def nucleus(rows: int, vocab: int, kept: int, **settings: Any) -> Make:
    """Top_p such that the last row keeps that many tokens, or one more."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        x, history = logits(rng, rows, vocab), texts(rng, rows, vocab)
        before = oracles.sampling(x, history, {**settings, "min_p": 0.0})
        sums = np.cumsum(np.sort(before[-1])[::-1])
        return settled(x, history, {**settings, "top_p": float(sums[kept - 1] + sums[kept]) / 2})

    return make


def ties(vocab: int, **settings: Any) -> Make:
    """Logits of few values: many are equal at every edge."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        x = rng.choice(np.array([-3, -1, -0.0, 0.0, 2], np.float32), (5, vocab))
        x[0, :3] = 4
        return x, [[]] * 5, settings

    return make


def masked(**settings: Any) -> Make:
    """-inf in most places, and but for one; rows without a distribution between them."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        x = logits(rng, 7, 600)
        x[0, rng.random(600) < 0.9] = -INFINITY
        x[1] = -INFINITY
        x[1, 599] = -1e30
        x[3] = -INFINITY
        x[4, 500] = INFINITY
        x[5, 300] = np.nan
        return settled(x, [[]] * 7, settings)

    return make


def real_logits(rng: np.random.Generator) -> Sequence[Any]:
    """A real output matrix on the directions of two tokens, and top-k and min-p as people set them."""
    head = tensor_rows(MODEL, "model.embed_tokens.weight")
    some = rng.integers(0, len(head), 2)
    x = head[some].astype(np.float32) @ head.astype(np.float32).T
    history = [rng.integers(0, len(head), 30).tolist() for _ in range(2)]
    return np.ascontiguousarray(x), history, {"temperature": 0.8, "top_k": 40, "repetition_penalty": 1.1}


def probabilities(_args: Sequence[Any], weights: np.ndarray) -> np.ndarray:
    """What weights stand for; zeros where a row has none."""
    exact = np.asarray(weights).astype(np.float64)
    total = exact.sum(axis=-1, keepdims=True)
    return np.asarray(np.divide(exact, total, out=np.zeros_like(exact), where=total != 0))


BITS = Task(
    function="random_bits",
    oracle=oracles.random_bits,
    cases=[
        Case("random bits, 5 rows", lambda _: (0, 0, 5), sanitize=True),
        Case("random bits, a later step", lambda rng: (int(rng.integers(2**31)), int(rng.integers(1, 2**31)), 9)),
        Case("random bits, a seed of 64 bits", lambda rng: (2**63 + int(rng.integers(2**62)), 3, 600)),
    ],
)

WEIGHTS = Task(
    function="weights_of",
    oracle=oracles.sampling,
    budget=budget.sampling,
    dtype=lambda *_: FLOAT64,
    compared=probabilities,
    cases=[
        Case("3 × 1000", plain(3, 1000)),
        Case("temperature 0.7", plain(3, 700, temperature=0.7)),
        Case("repetition penalty 1.3", plain(4, 700, repetition_penalty=1.3)),
        Case("temperature and penalty", plain(4, 90, temperature=1.9, repetition_penalty=0.8)),
        Case("top 5 of 600", plain(4, 600, top_k=5)),
        Case("top 1, more than there are, and all", plain(3, 40, top_k=400)),
        Case("top 1", plain(3, 900, top_k=1)),
        Case("top 37 of 2000", plain(2, 2000, top_k=37, temperature=1.5), count_costs=True),
        Case("top-p", nucleus(6, 500, 20)),
        Case("top-p keeps one", plain(3, 500, top_p=1e-6)),
        Case("top-p of what top-k leaves", nucleus(6, 800, 4, top_k=12)),
        Case("min-p", plain(4, 700, min_p=0.05)),
        Case("min-p keeps the largest", plain(3, 700, min_p=1.0)),
        Case("all filters", nucleus(6, 1500, 9, temperature=1.4, top_k=60, min_p=0.02, repetition_penalty=1.2)),
        Case(
            "all filters, 2 × 300",
            plain(2, 300, top_k=20, top_p=0.7, min_p=0.01, repetition_penalty=1.2),
            sanitize=True,
        ),
        *(Case(f"3 × {n}", plain(3, n), sanitize=n == 1) for n in (1, 31, 33, 257, 4099)),
        Case("ties at the edge of top-k", ties(400, top_k=9)),
        Case("ties at the edge of top-p", ties(400, top_p=0.4)),
        Case("-inf, +inf and NaN", masked()),
        Case("-inf, +inf and NaN, filtered", masked(top_k=50, min_p=0.01)),
        Case("SmolLM2-135M, real output matrix", real_logits),
        Case("no rows", lambda _: (np.zeros((0, 5), np.float32), [], {})),
    ],
    outputs=("sampling_scale:scaled", "sampling_weights:weights", "sampling_draw:out", "sampling_bits:out"),
    cost_limits={"global bytes": 1.5, "global requests": 1.5, "barriers": 1.5, "launches": 1.5},
)


def certain(rng: np.random.Generator) -> Sequence[Any]:
    """Rows in which one token has all the weight, some of them the least that there is; and a row of zeros."""
    weights = np.zeros((7, 1300), np.uint64)
    places = rng.integers(0, 1300, 7)
    weights[np.arange(7), places] = [1, 1, 1, 0, 2, int(rng.integers(1, 1 << 40)), 1 << 40]
    return weights, int(rng.integers(2**63)), int(rng.integers(2**31))


def at_the_end(rng: np.random.Generator) -> Sequence[Any]:
    """With a random number so large, ffffffe8cf65987b, that as a float32 it is 2^64; one token has all the weight."""
    weights = np.zeros((1, 900), np.uint64)
    weights[0, rng.integers(0, 900)] = 1 << 40
    return weights, 0, 80_860_892


def heavy(weights: np.ndarray, _seed: int, _step: int) -> np.ndarray:
    """The token with all the weight; -1 where there is none."""
    return np.where(weights.any(axis=1), weights.argmax(axis=1), -1).astype(np.int32)


CERTAIN = Task(
    function="drawn",
    oracle=heavy,
    cases=[
        Case("one token has all the weight", certain, sanitize=True),
        Case("a random number close to its end", at_the_end),
    ],
)


def skewed(rows: int, vocab: int, steps: int, **settings: Any) -> Make:
    """One row of logits, many times: how often each token comes is counted."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        x = (1.2 * rng.standard_normal(vocab)).astype(np.float32)
        return np.tile(x, (rows, 1)), {"seed": int(rng.integers(2**63)), **settings}, steps

    return make


def _one(args: Sequence[Any]) -> tuple[np.ndarray, int]:
    """A row's probabilities, and how many draws there are."""
    x, settings, steps = args
    return oracles.sampling(x[:1], [[]], settings)[0], len(x) * steps


def expected_counts(*args: Any) -> np.ndarray:
    """χ² of 0, and each token as often as it should come."""
    p, draws = _one(args)
    return np.concatenate([[0.0], draws * p])


def counts_allowed(*args: Any) -> Allowed:
    """See `budget.drawn`."""
    return budget.drawn(*_one(args))


def with_chi_squared(args: Sequence[Any], counts: np.ndarray) -> np.ndarray:
    """χ² before the counts."""
    p, draws = _one(args)
    if counts.shape != p.shape or counts.sum() != draws:
        return counts
    return np.concatenate([[budget.chi_squared(counts, p)], counts]).astype(np.float64)


DRAWS = Task(
    function="draws",
    oracle=expected_counts,
    budget=counts_allowed,
    dtype=lambda *_: FLOAT64,
    compared=with_chi_squared,
    cases=[
        Case("1,024 draws from 37 tokens", skewed(128, 37, 8)),
        Case("128 draws from the top 6 of 200", skewed(32, 200, 4, top_k=6)),
        Case("1,024 draws from 11 tokens at temperature 2", skewed(512, 11, 2, temperature=2.0)),
    ],
)

HABITS = Task(
    function="habits",
    oracle=lambda *_: dict.fromkeys(
        (
            "the same again",
            "the same with fewer rows",
            "others in another step",
            "others with another seed",
            "a step is no other seed",
            "others with a seed that differs in its upper half",
            "others in other rows",
        ),
        True,
    ),
    cases=[Case("what may change tokens", lambda rng: (np.zeros((16, 900), np.float32), int(rng.integers(2**31))))],
)


def greedy(logits: np.ndarray, history: Sequence[Sequence[int]], settings: Settings, _step: int) -> np.ndarray:
    """The largest after the penalty."""
    return oracles.largest_indices(oracles.scaled_logits(logits, history, settings))


def at(step: int, make: Make) -> Make:
    """The arguments of `make`, and a step."""
    return lambda rng: (*make(rng), step)


def spoilt(row: int, *values: float, **settings: Any) -> Make:
    """Four rows, of which one has these numbers everywhere but in its first place."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        x = logits(rng, 4, 50)
        x[row, 1:] = np.resize(np.array(values, np.float32), 49)
        if not np.isfinite(values).any() and np.all(np.array(values) == -np.inf):
            x[row, 0] = -INFINITY
        return x, [[]] * 4, settings, 0

    return make


def setting(name: str, value: Any) -> BadInput:
    """A setting that cannot be."""
    return BadInput(f"{name} of {value}", lambda rng: (logits(rng, 2, 9), [[], []], {name: value}, 0), name)


def history_of(history: list[list[int]]) -> Make:
    """Three rows of nine tokens, and this history."""
    return lambda rng: (logits(rng, 3, 9), history, {}, 0)


def penalised(rng: np.random.Generator) -> Sequence[Any]:
    """The largest logit of each row is that of a token in its text, which comes second after the penalty or later."""
    x = np.abs(logits(rng, 5, 60)) + 1
    return x, [[int(row.argmax())] for row in x], {"temperature": 0, "repetition_penalty": 100.0}, 3


def last_alone(rng: np.random.Generator) -> Sequence[Any]:
    """Rows whose last token is the likeliest, and the only one that a min-p of 1 keeps; without a search."""
    x = logits(rng, 2, 4000)
    x[:, -1] = x.max(axis=1) + 1
    return x, [[]] * 2, {"min_p": 1.0}


TOKENS = Task(
    function="tokens_of",
    oracle=greedy,
    cases=[
        Case("temperature 0", at(0, plain(4, 1000, temperature=0))),
        Case("temperature 0, after the penalty", penalised),
        Case("temperature 0, ties", at(1, ties(300, temperature=0))),
        Case("the top 1 is certain", at(5, plain(2, 500, top_k=1)), sanitize=True),
        Case("a min-p of 1 leaves one", at(4, last_alone), count_costs=True),
        Case("no tokens to draw", lambda _: (np.zeros((0, 5), np.float32), [], {}, 0)),
    ],
    bad_input=[
        BadInput("NaN in row 2", spoilt(2, np.nan, 1.0), ("logits", "row 2")),
        BadInput("+inf in row 0", spoilt(0, np.inf, 1.0), ("logits", "row 0")),
        BadInput("nothing but -inf in row 3", spoilt(3, -np.inf), ("logits", "row 3")),
        BadInput("NaN at temperature 0", spoilt(1, np.nan, 1.0, temperature=0), ("logits", "row 1")),
        setting("temperature", -0.5), setting("temperature", float("nan")), setting("top_k", -1), setting("top_k", 2.5),
        setting("top_p", 0.0), setting("top_p", 1.5), setting("min_p", -0.1), setting("repetition_penalty", 0.0),
        setting("seed", -1), setting("seed", 2**64),
        BadInput("a history too few", history_of([[], []]), "history"),
        BadInput("a token past the vocabulary", history_of([[], [3, 9], []]), "history"),
        BadInput("a negative token", history_of([[], [], [-1]]), "history"),
        BadInput("one dimension", lambda _: (np.zeros(8, np.float32), [[]], {}, 0), "logits"),
        BadInput("float64", lambda _: (np.zeros((2, 8)), [[], []], {}, 0), "logits"),
    ],
    cost_limits={"global bytes": 1.5, "global requests": 1.5, "barriers": 1.5, "launches": 1.5},
    speed=Speed("1 × 128,256, top 50 and top-p 0.9", at(0, plain(1, 128_256, top_k=50, top_p=0.9)),
                bytes_moved=lambda args: args[0].nbytes),
)  # fmt: skip

CHECKS = DayChecks([WEIGHTS, BITS, CERTAIN, DRAWS, HABITS, TOKENS])
