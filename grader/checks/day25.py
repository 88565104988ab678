"""Day 25, a checkpoint: digits, ratios, and tables of made-up records, to the last character."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from grader import budget, checkpoint_oracles
from grader.spec import BadInput, Case, DayChecks, Task

Make = Callable[[np.random.Generator], Sequence[Any]]
NAN, INFINITY = float("nan"), float("inf")

FLOATS: dict[str, Any] = {
    "budget": lambda *_args: 4 * budget.FLOAT64_ROUNDOFF,  # one division
    "dtype": lambda *_args: np.dtype(np.float64),
}


def given(*values: Any) -> Make:
    """These arguments."""
    return lambda _rng: values


# ---- figures -------------------------------------------------------------------------------------------------------------


def quartiles(rng: np.random.Generator, scale: float = 1.0, spread: float = 0.05) -> tuple[float, float, float]:
    """A median around the scale, and quartiles below and above it, not equally far: Python's floats, which stay on the host."""
    median = float(scale * rng.uniform(0.7, 1.4))
    low, high = (float(1 + spread * share) for share in rng.uniform(0.3, 1, 2))
    return median / low, median, median * high


def timed(low: Any, median: Any, high: Any, repeats: int = 9) -> dict[str, Any]:
    """As a record has it."""
    return {"median_s": median, "quartile1_s": low, "quartile3_s": high, "repeats": repeats}


def bad_figure(name: str, mentions: str, *ends: Any) -> BadInput:
    """A spread that must be refused."""
    return BadInput(name, given(timed(*ends), "rows[2].first"), f"rows[2].first.{mentions}")


FIGURE = Task(
    function="figure",
    oracle=checkpoint_oracles.figure,
    cases=[
        Case("a figure", lambda rng: (timed(*quartiles(rng)), "rows[0].token")),
        Case("a figure without spread", given(timed(0.25, 0.25, 0.25), "rows[0].token")),
    ],
    bad_input=[
        bad_figure("a median of NaN", "median_s", 1.0, NAN, 2.0),
        bad_figure("a quartile of NaN", "quartile3_s", 1.0, 1.0, NAN),
        bad_figure("an infinite time", "quartile3_s", 1.0, 1.0, INFINITY),
        bad_figure("a time of 0", "quartile1_s", 0.0, 1.0, 2.0),
        bad_figure("a negative time", "quartile1_s", -1.0, 1.0, 2.0),
        bad_figure("a time in words", "median_s", 1.0, "1.5", 2.0),
        BadInput("no quartile", given({"median_s": 1.0, "quartile1_s": 1.0}, "others.x"), "others.x.quartile3_s"),
        bad_figure("a median below its quartiles", "median_s", 1.0, 0.5, 2.0),
        bad_figure("a median above its quartiles", "median_s", 1.0, 2.5, 2.0),
        bad_figure("quartiles in each other's place", "median_s", 2.0, 1.5, 1.0),
    ],
)


def several(count: int, lists: int = 1) -> Make:
    """Lists of figures from microseconds to minutes."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        scales = 10 ** rng.uniform(-6, 2, (lists, count))
        return [[quartiles(rng, scale, 0.3) for scale in row] for row in scales]

    return make


RATES = Task(
    function="rates",
    oracle=checkpoint_oracles.rates,
    cases=[Case("rates of 20 times", several(20)), Case("the rate of 48, 50, 54 ms", given([(0.048, 0.05, 0.054)]))],
    **FLOATS,
)

RATIOS = Task(
    function="ratios",
    oracle=checkpoint_oracles.ratios,
    cases=[
        Case("ratios of 20 pairs", several(20, lists=2)),
        Case("the ratio of 48, 50, 54 to 24, 25, 27", given([(48.0, 50.0, 54.0)], [(24.0, 25.0, 27.0)])),
    ],
    **FLOATS,
)


def figures(least: float, most: float) -> Make:
    """Many figures of all sizes, whose spread is so many times their median."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        out = []
        for size, share in zip(10 ** rng.uniform(-5, 7, 40), rng.uniform(np.log(least), np.log(most), 40), strict=True):
            width = 2 * size * float(np.exp(share))
            below = width * rng.uniform(0.2, 0.8) if width < size else 0.9 * size
            out.append((float(size - below), float(size), float(size - below + width)))
        return (out,)

    return make


SHOWN = Task(
    function="shown_all",
    oracle=checkpoint_oracles.shown_all,
    cases=[
        Case("shown: the spread's first digit decides", figures(0.002, 0.09)),
        Case("shown: four digits at most", figures(1e-7, 1e-5)),
        Case("shown: as wide as the median, and wider", figures(0.2, 40.0)),
        Case("shown: no spread", lambda rng: ([(x, x, x) for x in (10 ** rng.uniform(-5, 7, 20)).tolist()],)),
        Case(
            "shown: rounded up to the next power of ten",
            given([(9.9987, 9.9996, 10.0004), (0.9041, 1.0007, 1.0963), (994.7, 999.81, 1004.3)]),
        ),
    ],
)


# ---- records -------------------------------------------------------------------------------------------------------------

GPU = {"gpu": "NVIDIA X1", "cpu": "a CPU", "cores": 16, "python": "3.12"}
OTHER_GPU = {"gpu": "NVIDIA Y2", "cpu": "a CPU", "cores": 16, "python": "3.12"}
CPU = {"cpu": "a CPU", "cores": 2, "python": "3.11"}


def row(rng: np.random.Generator, prompt: int, tokens: int = 8, slower: float = 1.0, **changes: Any) -> dict[str, Any]:
    """A length of prompt that was measured."""
    first, token = (timed(*quartiles(rng, slower * scale), int(rng.integers(6, 40))) for scale in (prompt / 1e3, 0.02))
    return {
        "prompt_tokens": prompt, "tokens": tokens, "first": first, "token": token,
        "tokens_per_s": 1 / token["median_s"], "peak_bytes": int(rng.integers(1 << 20, 1 << 34)),
        "steady": bool(rng.integers(2)), **changes,
    }  # fmt: skip


def few(rng: np.random.Generator, prompt: int, first: int, token: int) -> dict[str, Any]:
    """A length of prompt with so many runs."""
    out = row(rng, prompt)
    return {**out, "first": {**out["first"], "repeats": first}, "token": {**out["token"], "repeats": token}}


def not_run(prompt: int, why: str = "one run would take about 90 s or more, and --seconds is 30") -> dict[str, Any]:
    """A length of prompt that was not."""
    return {"prompt_tokens": prompt, "not_run": why}


def record(
    rng: np.random.Generator, lengths: Sequence[int] = (16, 256, 2048), machine: Mapping[str, Any] = CPU, **changes: Any
) -> dict[str, Any]:
    """A record of these lengths; its date is random."""
    day = f"2026-{rng.integers(1, 13):02}-{rng.integers(1, 29):02}"
    slower = float(rng.uniform(0.5, 2))
    return {
        "command": f"python -m engine bench m --seconds {rng.integers(1000)}", "date": day, "machine": dict(machine),
        "model": "smollm2-135m", "tokens": 8, "rows": [row(rng, length, slower=slower) for length in lengths], **changes,
    }  # fmt: skip


def of_all_kinds(rng: np.random.Generator) -> Sequence[Any]:
    """A record with every kind of row, not in order."""
    rows = [
        row(rng, 256), row(rng, 16, peak_bytes=None), not_run(2048), few(rng, 64, 5, 9), few(rng, 65, 9, 5),
        few(rng, 66, 6, 6), few(rng, 67, 2, 3), few(rng, 68, 1, 9),
    ]  # fmt: skip
    return ("mine", record(rng, rows=rows), ""), [16, 64, 65, 66, 67, 68, 256, 2048, 4096]


def broken(part: str, **changes: Any) -> Make:
    """A record whose second row is broken."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        good = row(rng, 64)
        bad = {**good, **changes} if not part else {**good, part: {**good[part], **changes}}
        return ("mine", record(rng, rows=[row(rng, 16), bad]), ""), [64]

    return make


CELLS = Task(
    function="cells",
    oracle=checkpoint_oracles.cells,
    cases=[
        Case("cells of a record", lambda rng: (("mine", record(rng), ""), [16, 256, 2048, 64])),
        Case("cells of every kind", of_all_kinds),
        Case("cells of no record", given(("mine", None, ""), [16])),
        Case("cells of a record to be made", given(("mine", None, "python -m engine bench m --mine"), [16])),
    ],
    bad_input=[
        BadInput("NaN in a row", broken("token", median_s=NAN), "mine: rows[1].token.median_s"),
        BadInput("quartiles of another row", broken("first", quartile1_s=9.0), "mine: rows[1].first.median_s"),
        BadInput("a row of fewer tokens", broken("", tokens=5), "mine: rows[1].tokens"),
        BadInput("a peak of 0 bytes", broken("", peak_bytes=0), "mine: rows[1].peak_bytes"),
    ],
)


# ---- machines ------------------------------------------------------------------------------------------------------------


def shuffled(rng: np.random.Generator, *listed: Any) -> list[Any]:
    """In any order."""
    return [listed[place] for place in rng.permutation(len(listed))]


def together(rng: np.random.Generator) -> list[Any]:
    """Three names on two machines; one of them is nowhere yet, one on one machine alone."""
    return shuffled(
        rng,
        ("loop", record(rng), ""),
        ("fused", record(rng), ""),
        ("loop", record(rng, machine=GPU), ""),
        ("int8", None, "python -m engine bench m --weights int8"),
    )


def listing(*made: Callable[[np.random.Generator], Any], baseline: str = "loop") -> Make:
    """Some entries in random order, and the baseline."""
    return lambda rng: (shuffled(rng, *(make(rng) for make in made)), baseline)


def named(name: str, *lengths: int, **changes: Any) -> Callable[[np.random.Generator], Any]:
    """An entry with a record."""
    return lambda rng: (name, record(rng, lengths or (16, 256), **changes), "")


def planned(name: str) -> Callable[[np.random.Generator], Any]:
    """An entry without a record."""
    return lambda _rng: (name, None, f"make {name}")


MACHINES = Task(
    function="machines",
    oracle=checkpoint_oracles.machines,
    cases=[
        Case("one machine, the baseline alone", listing(named("loop"))),
        Case("one machine, 5 names", listing(*(named(name) for name in ("zeta", "loop", "alpha", "m1", "m10")))),
        Case(
            "two GPUs",
            listing(named("loop", machine=OTHER_GPU), named("b", machine=GPU), named("b", machine=OTHER_GPU)),
        ),
        Case("two machines, a name that is nowhere yet", lambda rng: (together(rng), "loop")),
        Case(
            "a name that is on one machine, and to be made on the others",
            listing(named("loop"), named("loop", machine=GPU), named("fused", machine=GPU), planned("fused")),
        ),
        Case("a baseline that is nowhere yet", listing(planned("loop"), named("mine"), named("a"))),
    ],
    bad_input=[
        BadInput("two records of one name and machine", listing(named("loop"), named("b"), named("b")), "b"),
        BadInput("two entries without a record", listing(named("loop"), planned("b"), planned("b")), "b"),
        BadInput("a baseline that there is not", listing(named("a"), baseline="loop"), ("baseline", "loop")),
        BadInput("two models", listing(named("loop"), named("b", model="qwen3-0.6b")), ("model", "qwen3-0.6b")),
        BadInput("other numbers of tokens", listing(named("loop"), named("b", tokens=9)), ("tokens", "9")),
        BadInput("two models on two machines", listing(named("loop"), named("loop", machine=GPU, model="x")), "model"),
        BadInput("no records", listing(planned("loop"), planned("b")), "records"),
    ],
)


# ---- tables --------------------------------------------------------------------------------------------------------------

EDGES = [
    ((4.0, 5.0, 6.0), (6.0, 7.0, 8.0)),  # they touch
    ((4.0, 5.0, 6.0), (3.0, 3.5, 4.0)),
    ((4.0, 5.0, 6.0), (6.0625, 7.0, 8.0)),  # and do not
    ((4.0, 5.0, 6.0), (3.0, 3.5, 3.9375)),
    ((4.0, 5.0, 6.0), (5.0, 5.25, 5.5)),
    ((4.0, 5.0, 6.0), (1.0, 5.0, 30.0)),
]

SPEED_UPS = Task(
    function="speed_ups",
    oracle=checkpoint_oracles.speed_ups,
    cases=[
        Case("speed-ups of 20 pairs", several(20, lists=2)),
        Case("speed-ups where quartiles touch", given([a for a, _ in EDGES], [b for _, b in EDGES])),
    ],
)


def gaps(rng: np.random.Generator) -> Sequence[Any]:
    """Every reason not to run, two of them twice, and a baseline that has a gap."""
    loop = [row(rng, 16), not_run(2048), row(rng, 512, peak_bytes=None)]
    mine = [row(rng, 2048), row(rng, 16), few(rng, 64, 3, 3), not_run(512)]
    return shuffled(
        rng, ("loop", record(rng, rows=loop), ""), ("mine", record(rng, rows=mine), ""), planned("z")(rng)
    ), "loop"


ROWS = Task(
    function="speeds",
    oracle=checkpoint_oracles.speeds,
    cases=[
        Case("rows of one record", listing(named("loop"))),
        Case("rows of 3 records", listing(named("b"), named("loop"), named("a"))),
        Case("rows of other lengths", listing(named("loop", 1000, 16), named("b", 64, 1000), named("a", 9, 16, 2048))),
        Case("rows with gaps", gaps),
        Case("rows of two machines", lambda rng: (together(rng), "loop")),
    ],
)


def texts(rows: int) -> Make:
    """Cells of many lengths, words and numbers."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        letters = "abcdefgh ±×µ1234567890"
        lengths = rng.integers(1, 14, (rows, 4))
        made = [["".join(rng.choice(list(letters), length)) for length in line] for line in lengths]
        return ["prompt", "engine", "tokens/s", "runs"], made

    return make


ALIGNED = Task(
    function="aligned",
    oracle=checkpoint_oracles.aligned,
    cases=[
        Case("aligned: 5 rows", texts(5)),
        Case(
            "aligned: headings longer than all cells", given(["a long heading", "kernel"], [["1", "x"], ["22", "yy"]])
        ),
        Case("aligned: narrow columns", given(["n", "engine", "±"], [["1", "a", "2"]])),
        Case("aligned: no rows", given(["prompt", "engine"], [])),
        Case("aligned: bars in cells", given(["prompt", "engine"], [["1 | 2", "a|b"], ["16", "NOT RUN: x | y || z"]])),
        Case("aligned: 1,500 rows", texts(1500), count_costs=True),
    ],
    cost_limits={"milliseconds": 12.0},
)

PAGE = Task(
    function="speed_page",
    oracle=checkpoint_oracles.speed_page,
    cases=[
        Case("the page of two machines", lambda rng: (together(rng), "loop")),
        Case("the page of records with gaps", gaps),
        Case("the page of names with bars", listing(named("loop"), named("a|b"), named("µ", 16))),
    ],
)

CHECKS = DayChecks([FIGURE, RATES, RATIOS, SHOWN, CELLS, MACHINES, SPEED_UPS, ROWS, ALIGNED, PAGE])
