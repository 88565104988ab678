"""What is measured of each peer, by the harness of day 23: decode steps, time to the first token, several texts at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchmarks.peers.protocol import Plan, Prepared
from benchmarks.suites.baseline import LEAST
from benchmarks.workers import one_line
from engine import benchmark, machine
from engine.benchmark import Continue, Run, Summary

Figures = dict[str, Any]
LONGEST_S = 60.0  # of one figure, without warm-ups
STATE = ("clocks.sm", "clocks.mem", "temperature.gpu", "power.draw")


def figures(
    prepared: Prepared, plan: Plan, measured: Sequence[str], vocab_size: int, in_time: Callable[[], bool]
) -> Iterator[tuple[str, Any]]:
    """All figures of a peer, each as soon as it is known.

    A figure that cannot be measured is `{"failed": why}`, and the next one is tried.

    Args:
        measured: which of `decode`, `first`, `batches`.
        in_time: whether another figure may be begun.

    Yields:
        Name and value: `tokens`, those of the decode steps; `decode`; then `first` for each length and `batches` for each
        number of texts, several of one name.
    """
    go_on, ids = prepared.go_on, plan.ids(plan.prompt, vocab_size)
    if "decode" in measured and 1 in plan.batches and go_on is not None:
        head = {"prompt_tokens": plan.prompt}
        try:
            tokens = [int(token) for token in go_on(ids, plan.tokens)]
            if len(tokens) != plan.tokens:
                raise ValueError(f"{len(tokens)} tokens came: expected {plan.tokens}")  # noqa: TRY301
            yield "tokens", tokens
            yield "decode", head | of_runs(go_on, ids, plan.tokens, prepared, plan)
        except Exception as error:
            yield "decode", head | {"failed": one_line(error)}
    if "first" in measured and go_on is not None:
        for length in plan.ttft:
            head = {"prompt_tokens": length}
            yield "first", head | tried(in_time, go_on, plan.ids(length, vocab_size), 1, prepared, plan)
    if "batches" in measured and prepared.go_on_all is not None:
        for texts in sorted(plan.batches, reverse=True):  # the largest first: time may not suffice for all
            if texts == 1:
                continue
            head = {"texts": texts, "prompt_tokens": plan.prompt}
            prompts: Any = plan.prompts(texts, vocab_size)
            found = tried(in_time, prepared.go_on_all, prompts, plan.tokens, prepared, plan)
            if found.get("tokens_per_s"):
                found["tokens_per_s"] *= texts
            yield "batches", head | found


def tried(in_time: Callable[[], bool], go_on: Any, ids: Any, tokens: int, prepared: Prepared, plan: Plan) -> Figures:
    """One figure, or why there is none."""
    if not in_time():
        return {"not_run": "the time for this peer was spent"}
    try:
        return of_runs(go_on, ids, tokens, prepared, plan)
    except Exception as error:
        return {"failed": one_line(error)}


def of_runs(go_on: Continue, ids: Sequence[int], tokens: int, prepared: Prepared, plan: Plan) -> Figures:
    """Runs until their medians are known, and the state of the GPU around them.

    Raises:
        RuntimeError: the time was over before there were runs enough.
    """
    before = machine.nvidia_smi(*STATE)
    runs: list[Run] = []
    begin = time.monotonic()
    for run in benchmark.repeated(go_on, ids, tokens, prepared.read, LONGEST_S, plan.runs):
        runs.append(run)
        if len(runs) >= LEAST and time.monotonic() - begin > plan.seconds:
            break
    if len(runs) < LEAST:
        raise RuntimeError(f"{len(runs)} runs in {LONGEST_S:.0f} s: expected {LEAST}")
    after = machine.nvidia_smi(*STATE)
    return of_summary(benchmark.summary(runs)) | {"gpu_before": before, "gpu_after": after}


def of_summary(found: Summary) -> Figures:
    """A summary as JSON has it."""
    return {
        "tokens": found.tokens, "first": dict(found.first), "token": None if found.token is None else dict(found.token),
        "tokens_per_s": found.tokens_per_s, "peak_bytes": found.peak_bytes, "steady": found.steady,
    }  # fmt: skip
