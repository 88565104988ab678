"""Day 23, benchmark: runs on a machine of which every microsecond is known, and day 21's loop on a clock that counts."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from grader.goldens import tiny
from grader.spec import BadInput, Case, DayChecks, Llama, Task

Make = Callable[[np.random.Generator], Sequence[Any]]
Plan = Mapping[str, Any]


# ---- one run -----------------------------------------------------------------------------------------------------------


def of(plan: Plan, name: str, call: int, usual: int) -> int:
    """What a plan says of a call."""
    values = plan.get(name, [usual])
    return int(values[call % len(values)])


def moments(plan: Plan, prompt: int, tokens: int, call: int = 0) -> list[int]:
    """When each token of a call is known, in microseconds from its beginning, with a device that is idle then."""
    host, step, grows = plan.get("host", 0), plan.get("step", 5000), plan.get("grows", 0)
    came = min(tokens, plan.get("comes", tokens))
    now = host * (2 if plan.get("eager") else 1)
    done = now + of(plan, "prompts", call, 1) * plan.get("prefill", 1000) * prompt
    out = []
    for number in range(came):
        cost = of(plan, "steps", call, 1) * (step + number * grows)
        if plan.get("ahead"):
            now += host
            following = max(done, now) + cost
            now = max(now, done)
            done = following
        else:
            now = done
            done = now + host + cost
        out.append(now)
    return out


def run(plan: Plan, prompt: int, tokens: int) -> dict[str, Any]:
    """What a run says."""
    first, *others = moments(plan, prompt, tokens)
    return {
        "tokens": 1 + len(others),
        "first_s": round(first / 1e6, 9),
        "token_s": round((others[-1] - first) / len(others) / 1e6, 9) if others else None,
        "peak_bytes": 1 << 40,
    }


def machine(tokens: int, prompt: int = 4, **plan: Any) -> Make:
    """A run on a machine whose costs are random where they are not given."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        costs = {name: int(rng.integers(1000, 9000)) for name in ("prefill", "step", "host")}
        return costs | plan, prompt, tokens

    return make


RUN = Task(
    function="timed_on",
    oracle=run,
    cases=[
        Case("5 tokens after 4", machine(5)),
        Case("1 token", machine(1)),
        Case("2 tokens", machine(2)),
        Case("31 tokens, each slower than the one before", machine(31, grows=77)),
        Case("the call takes the prompt, the tokens come when asked for", machine(5, eager=True)),
        Case("5 of 9 tokens, then a stop token", machine(9, comes=5)),
        Case("1 of 9 tokens, then a stop token", machine(9, comes=1)),
        Case("the device is busy at first", machine(3, left=50_000)),
        Case("each pass is launched ahead of time", machine(7, ahead=True, step=6000, host=2000)),
        Case("ahead of time on a busy device, and a stop token", machine(9, ahead=True, comes=4, left=9_000)),
        Case("20,000 tokens", machine(20_000), count_costs=True),
    ],
    bad_input=[
        BadInput("no token is asked for", machine(0), "tokens"),
        BadInput("no token comes", machine(5, comes=0), "tokens"),
        BadInput("a token too many comes", machine(5, extra=1), "tokens"),
        BadInput("a clock that stands still", machine(5, clock="stopped"), "clock"),
        BadInput("a clock that goes backwards", machine(5, clock="backwards"), "clock"),
        BadInput("a clock that says NaN", machine(1, clock="NaN"), "clock"),
        BadInput("tokens that take no time", machine(5, step=0, host=0), "clock"),
    ],
    cost_limits={"host bytes": 8.0},
)


# ---- the median, and how well it is known --------------------------------------------------------------------------------


def median_between(values: Sequence[float]) -> tuple[float, float] | None:
    """From the binomial distribution: the largest k for which [k-th smallest, k-th largest] holds the median 19 times in 20."""
    n, ordered = len(values), sorted(values)
    chances = np.cumsum([math.comb(n, k) for k in range(n + 1)], dtype=object)  # exact: whole numbers of any size
    fitting = [k for k in range(1, n // 2 + 1) if 40 * chances[k - 1] <= 2**n]
    return (ordered[fitting[-1] - 1], ordered[-fitting[-1]]) if fitting else None


def known(values: Sequence[float]) -> bool:
    """To 1 % up and down."""
    ends = median_between(values)
    return ends is not None and ends[1] - ends[0] <= 0.02 * statistics.median(values)


def values(count: int, scale: float = 1.0, noise: float = 0.1, outliers: int = 0) -> Make:
    """Random values around `scale`, in random order; outliers are far above."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        out = scale * (1 + noise * rng.uniform(-1, 1, count))
        out[rng.permutation(count)[:outliers]] *= rng.uniform(5, 9)
        return (out.tolist(),)

    return make


INTERVAL = Task(
    function="interval",
    oracle=median_between,
    cases=[Case(f"{n} value{'s' * (n != 1)}", values(n)) for n in (100, 59, 20, 12, 11, 9, 8, 6, 5, 1, 0)],
)


def lists(rng: np.random.Generator) -> Sequence[Any]:
    """Values that are steady, and values that are not, by what is said of them."""
    made = {
        "5 equal": values(5, noise=0),
        "6 equal": values(6, noise=0),
        "8, one far off": values(8, noise=0, outliers=1),
        "9, one far off": values(9, noise=0, outliers=1),
        "60 within 3 % of 1 us": values(60, 1e-6, 0.03),
        "60 within 30 % of 1 us": values(60, 1e-6, 0.3),
        "60 within 0.9 % of 1 h": values(60, 3600.0, 0.009),
        "60 within 5 % of 1 h": values(60, 3600.0, 0.05),
    }
    fixed = {
        "6 within 0.9 %": [99.1, 100.0, 100.9, 99.5, 100.2, 100.0],
        "6 within 1.1 %": [98.9, 100.0, 101.1, 99.5, 100.2, 100.0],
        "the page's 6": [98.0, 100.0, 100.0, 101.0, 100.0, 150.0],
        "the page's 9, 2 % to the last digit": [98.0, 100.0, 100.0, 101.0, 100.0, 150.0, 100.0, 100.0, 99.0],
    }
    return ({name: make(rng)[0] for name, make in made.items()} | fixed,)


STEADY = Task(
    function="steady_lists",
    oracle=lambda lists: {name: known(one) for name, one in lists.items()},
    cases=[Case("which of 12 lists are steady", lists)],
)


# ---- many runs ---------------------------------------------------------------------------------------------------------


def measured(
    plan: Plan, prompt: int, tokens: int, seconds: float, most: int, warm_ups: int
) -> list[tuple[int, dict[str, Any]]]:
    """Each run that counts, with the number of calls up to it."""
    out: list[tuple[int, dict[str, Any]]] = []
    peak, spent = of(plan, "bytes", warm_ups - 1, 1000), 0
    while True:
        call = warm_ups + len(out)
        first, *others = moments(plan, prompt, tokens, call)
        peak, spent = max(peak, of(plan, "bytes", call, 1000)), spent + (others or [first])[-1]
        token_s = (others[-1] - first) / len(others) / 1e6 if others else None
        said = {"tokens": 1 + len(others), "first_s": first / 1e6, "token_s": token_s, "peak_bytes": peak}
        out.append((call + 1, {name: round(v, 9) if isinstance(v, float) else v for name, v in said.items()}))
        firsts, rates = ([one[name] for _, one in out] for name in ("first_s", "token_s"))
        if (known(firsts) and (not others or known(rates))) or len(out) == most or spent / 1e6 >= seconds:
            return out


USUAL = 1_000_000  # so fine that no two medians and ends lie on the edge of what counts as steady


def machines(
    tokens: int = 3, seconds: float = 1e6, most: int = 40, warm_ups: int = 2, refill: int = 0, **noise: Any
) -> Make:
    """Runs on a machine: 3 s to the first token, one to three for each further one.

    Args:
        noise: of `prompts` and `steps`: a share by which they vary, or how many times as long the first calls take, others
            being as usual; of `bytes`: those of the first calls.
    """

    def make(rng: np.random.Generator) -> Sequence[Any]:
        plan: dict[str, Any] = {"prefill": 1, "step": int(rng.integers(1, 4)), "refill": refill}
        for name in ("prompts", "steps"):
            given = noise.get(name, 0.0)
            if isinstance(given, float):
                plan[name] = np.rint(USUAL * (1 + given * rng.uniform(-1, 1, 100))).astype(int).tolist()
            else:
                plan[name] = [*(USUAL * factor for factor in given), *[USUAL] * (100 - len(given))]
        plan["bytes"] = [*noise.get("bytes", ()), *[1000] * 100]
        return plan, 3, tokens, seconds, most, warm_ups

    return make


REPEATED = Task(
    function="repeated_on",
    oracle=measured,
    cases=[
        Case("runs: all alike", machines()),
        Case("runs: the first two are slow", machines(prompts=[90, 4], steps=[70, 3])),
        Case("runs: the first is slow, one warm-up", machines(prompts=[90], steps=[70], warm_ups=1)),
        Case("runs: within 2 %", machines(prompts=0.02, steps=0.02, most=100)),
        Case("runs: the first token varies", machines(prompts=0.2, steps=0.03)),
        Case("runs: the further tokens vary", machines(prompts=0.03, steps=0.2)),
        Case("runs: one is far off", machines(steps=[1, 1, 1, 1, 9])),
        Case("runs: of one token each", machines(tokens=1, prompts=0.02)),
        Case("runs: never steady, at most 17", machines(prompts=0.9, steps=0.9, most=17)),
        Case("runs: never steady, in 70 s", machines(prompts=0.9, steps=0.9, seconds=70.0)),
        Case("runs: time is up to the second", machines(tokens=1, prompts=[1, 1, 2, 1, 2, 1, 2, 1], seconds=15.0)),
        Case("runs: in no time at all", machines(seconds=0.0)),
        Case("runs: at most one", machines(most=1)),
        Case("runs: long warm-ups, 70 s", machines(prompts=[900, 900], steps=0.9, seconds=70.0)),
        Case("runs: the first takes much memory", machines(bytes=[9000, 2000, 1500, 2500], steps=0.03)),
        Case("runs: memory is taken again after a reset", machines(refill=7_000_000)),
    ],
)


# ---- what they say ------------------------------------------------------------------------------------------------------


def together(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Medians and quartiles, by NumPy."""

    def figures(name: str) -> dict[str, Any] | None:
        there = [one[name] for one in runs if one[name] is not None]
        if not there:
            return None
        low, middle, high = (round(float(np.quantile(there, share)), 9) for share in (0.25, 0.5, 0.75))
        return {"median_s": middle, "quartile1_s": low, "quartile3_s": high, "repeats": len(there)}

    rates = [one["token_s"] for one in runs if one["token_s"] is not None]
    return {
        "tokens": min(one["tokens"] for one in runs),
        "first": figures("first_s"),
        "token": figures("token_s"),
        "peak_bytes": max((one["peak_bytes"] for one in runs if one["peak_bytes"] is not None), default=None),
        "steady": known([one["first_s"] for one in runs]) and (not rates or known(rates)),
    }


def several(
    count: int,
    noise: float | tuple[float, float] = 0.05,
    outliers: int = 0,
    short: int = 0,
    tokens: int = 9,
    memory: bool = True,
) -> Make:
    """Runs that vary.

    Args:
        noise: a share by which they vary, or one for the first token and one for the others.
        outliers: of them take many times as long.
        short: of them have one token.
    """

    def make(rng: np.random.Generator) -> Sequence[Any]:
        times = (1 + np.multiply(noise, rng.uniform(-1, 1, (count, 2)))) * rng.uniform(0.01, 0.1, 2)
        times = np.round(times, 7)  # quartiles are multiples of 25 ns then: none lies between two nanoseconds
        times[rng.permutation(count)[:outliers]] *= 7
        few = set(rng.permutation(count)[:short].tolist())
        runs = [
            {
                "tokens": 1 if n in few else int(rng.integers(2, tokens + 1)),
                "first_s": float(first),
                "token_s": None if n in few else float(token),
                "peak_bytes": int(rng.integers(1000, 9000)) if memory else None,
            }
            for n, (first, token) in enumerate(times)
        ]
        return (runs,)

    return make


SUMMARY = Task(
    function="summary_of",
    oracle=together,
    cases=[
        Case("together: 7 runs", several(7)),
        Case("together: 10 runs, two far off", several(10, outliers=2)),
        Case("together: 40 steady runs", several(40, noise=0.005)),
        Case("together: 40 runs, the first token steady", several(40, noise=(0.005, 0.3))),
        Case("together: 40 runs, the further tokens steady", several(40, noise=(0.3, 0.005))),
        Case("together: one run", several(1)),
        Case("together: two runs", several(2)),
        Case("together: 9 runs, of which 4 have one token", several(9, short=4)),
        Case("together: 8 runs of one token", several(8, short=8)),
        Case("together: nobody knows the memory", several(6, memory=False)),
    ],
)


# ---- the engine --------------------------------------------------------------------------------------------------------


def talking(rng: np.random.Generator) -> Sequence[Any]:
    """A tiny model and a prompt."""
    model = Llama(tiny.QWEN3, tiny.weights("tiny-qwen3", int(rng.integers(1000))))
    return model, rng.integers(0, tiny.QWEN3["vocab_size"], 5).tolist(), 4


ENGINE = Task(
    function="timed_engine",
    oracle=lambda _model, _ids, tokens: {"tokens": tokens, "first_s": 1.0, "token_s": 1.0, "peak_bytes": None},
    cases=[Case("day 21's loop: 4 tokens of a tiny model", talking)],
)

CHECKS = DayChecks([RUN, INTERVAL, STEADY, REPEATED, SUMMARY, ENGINE])
