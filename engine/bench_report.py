"""An engine's speed over prompt lengths: measured, as figures that JSON takes, and as a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine import benchmark
from engine.benchmark import Continue, Instruments, Run, Summary
from engine.config import Config
from engine.model import Model

EMULATED = "the emulator on this CPU is measured, not a GPU: there is no ceiling to hold it against"
WARM_UPS_CPU = 1  # the emulator compiles at the first launch; on a GPU clocks and memory pools settle too

Figures = dict[str, Any]
Tell = Callable[[int, Sequence[Run]], None]  # a prompt's length, and its runs so far


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        lengths: of the prompts, ascending.
        tokens: that each is gone on with.
        repeats: runs that count of each, at most.
        seconds: no run of a prompt begins after so many; and one run may not take longer.
        warm_ups: runs that do not count.
    """

    lengths: tuple[int, ...]
    tokens: int
    repeats: int
    seconds: float
    warm_ups: int


@dataclass(frozen=True)
class Row:
    """One length of prompt: a summary of its runs, or why there is none."""

    prompt: int
    summary: Summary | None = None
    not_run: str = ""


@dataclass(frozen=True)
class Subject:
    """What is measured.

    Attributes:
        go_on: a text from a prompt, of the likeliest tokens; it ends at none.
        kind: `fused` or `plain`, see `engine.writing.open_writer`.
        weight_bytes: that a decode step reads at least.
    """

    go_on: Continue
    kind: str
    config: Config
    weight_bytes: int


def of_engine(model: Model, capacity: int, weights: str = "bfloat16", plain: bool = False) -> Subject:
    """The engine that `generate` writes with.

    Args:
        capacity, weights, plain: see `engine.writing.open_writer`.

    Raises:
        ValueError: see there.
    """
    from engine.sampling import Greedy
    from engine.writing import open_writer

    writer = open_writer(model, capacity, weights, plain=plain)

    def go_on(ids: Sequence[int], tokens: int) -> Iterator[int]:
        writer.forget()  # the same prompt comes again and again
        return writer.write(ids, tokens, Greedy(), ())

    return Subject(go_on, writer.kind, model.config, writer.weight_bytes)


def prompt(length: int, vocab_size: int) -> list[int]:
    """Random tokens, the same each time."""
    return [int(token) for token in np.random.default_rng(length).integers(0, vocab_size, length)]


def measure(subject: Subject, plan: Plan, read: Instruments, rows: list[Row], tell: Tell) -> None:
    """Every length of prompt; those that cannot be run are rows too.

    Args:
        rows: grows with each length, so that something is left where Ctrl-C interrupts: then the last is of the runs so far.
        tell: told before a length's first run, and after each run that counts.
    """
    for length in plan.lengths:
        reason = _too_long(length, plan, subject.config) or _too_slow(length, plan, rows)
        if reason:
            rows.append(Row(length, not_run=reason))
            continue
        tell(length, [])
        runs: list[Run] = []
        try:
            ids = prompt(length, subject.config.vocab_size)
            for run in benchmark.repeated(
                subject.go_on, ids, plan.tokens, read, plan.seconds, most=plan.repeats, warm_ups=plan.warm_ups
            ):
                runs.append(run)
                tell(length, runs)
        except (ValueError, MemoryError) as error:
            rows.append(Row(length, not_run=str(error).splitlines()[0] if str(error) else type(error).__name__))
        except KeyboardInterrupt:
            rows += [Row(length, benchmark.summary(runs))] if runs else []
            raise
        else:
            rows.append(Row(length, benchmark.summary(runs)))


def places(length: int, tokens: int) -> int:
    """Tokens that a cache must have room for; the last goes through no pass."""
    return length + tokens - 1


def _too_long(length: int, plan: Plan, config: Config) -> str:
    """Why a prompt and its answer are too long for the model, or ""."""
    needed, context = places(length, plan.tokens), config.max_position_embeddings
    if needed <= context:
        return ""
    return f"with {plan.tokens} more it takes {needed:,} places, and the model's context has {context:,}"


def _too_slow(length: int, plan: Plan, rows: Sequence[Row]) -> str:
    """Why a run would take too long, judged by the prompt before, or "". A longer prompt takes at least as long a token."""
    last = next((row for row in reversed(rows) if row.summary is not None), None)
    if last is None:
        return ""
    assert last.summary is not None
    needed = last.summary.first["median_s"] * max(1.0, length / last.prompt)
    if last.summary.token is not None:
        needed += last.summary.token["median_s"] * (plan.tokens - 1)
    if needed <= plan.seconds:
        return ""
    return f"one run would take about {needed:,.0f} s or more, and --seconds is {plan.seconds:g}"


# ---- figures -------------------------------------------------------------------------------------------------------------


def decode_bytes(subject: Subject, prompt: int, tokens: int) -> float:
    """Bytes that a decode step cannot but read, on average over the steps after a prompt: weights, keys and values.

    Args:
        tokens: that came; the k-th step reads prompt + k rows of every cache.
    """
    from engine.cache import make_caches

    row = sum(cache.bytes for cache in make_caches(subject.config, 1))
    return subject.weight_bytes + row * (prompt + tokens / 2)


def figures(row: Row, subject: Subject, read: Mapping[str, Any] | None, price: float | None) -> Figures:
    """A row as JSON has it.

    Args:
        read: the memory's bandwidth, measured; None in the emulator.
        price: of the GPU, dollars an hour; None where it was not said.
    """
    if row.summary is None:
        return {"prompt_tokens": row.prompt, "not_run": row.not_run}
    found = row.summary
    out: Figures = {
        "prompt_tokens": row.prompt, "tokens": found.tokens, "first": found.first, "token": found.token,
        "tokens_per_s": found.tokens_per_s, "peak_bytes": found.peak_bytes, "steady": found.steady,
    }  # fmt: skip
    if found.tokens_per_s is not None:
        moved = decode_bytes(subject, row.prompt, found.tokens)
        out |= {"bytes_per_token": moved}
        if read is not None:
            out["share_of_read"] = moved * found.tokens_per_s / read["bytes_per_s"]
        if price is not None:
            out["dollars_per_million_tokens"] = price / 3600 / found.tokens_per_s * 1e6
    return out


# ---- for people ----------------------------------------------------------------------------------------------------------


def duration(seconds: float) -> str:
    """Three digits and a unit."""
    if seconds < 0.9995:
        return f"{1000 * seconds:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 99.5 else f"{seconds:,.0f} s"


def percent(spread: Mapping[str, float]) -> str:
    """Half the interquartile range, of the median."""
    return f"± {50 * (spread['quartile3_s'] - spread['quartile1_s']) / spread['median_s']:.1f} %"


def memory(count: int | None) -> str:
    """Bytes, as large as they are."""
    if count is None:
        return "unknown"
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def rate(figures: Mapping[str, Any]) -> str:
    """Tokens a second, three digits."""
    per_s = figures["tokens_per_s"]
    return "-" if per_s is None else f"{per_s:.3g}" if per_s < 999.5 else f"{per_s:,.0f}"


def line(row: Row) -> str:
    """A row in words."""
    if row.summary is None:
        return f"{row.prompt:,} tokens: NOT RUN: {row.not_run}"
    found = row.summary
    words = [f"{row.prompt:,} tokens: first token after {duration(found.first['median_s'])}"]
    if found.tokens_per_s is not None:
        words.append(f"then {rate({'tokens_per_s': found.tokens_per_s})} tokens/s")
    words.append(f"{found.first['repeats']} run{'' if found.first['repeats'] == 1 else 's'}")
    return ", ".join(words) + ("" if found.steady else ", not steady")


def show(record: Mapping[str, Any]) -> None:
    """Print a record as a table, with what its figures mean below."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    if not console.is_terminal:  # a pipe has no width
        console = Console(highlight=False, width=200)
    roof, priced = record["read"] is not None, record["price_per_hour"] is not None
    how = "day 21's loop" if record["engine"] == "plain" else f"fused steps, {record['weights']} weights"
    title = f"{record['model']} on {record['device']}: {how}, {record['tokens']} tokens after each prompt"
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    columns = ["prompt", "first token", "±", "tokens/s", "±", "peak memory", "runs"]
    columns += (["of read"] if roof else []) + (["$ a million"] if priced else [])
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    left_out = []
    for row in record["rows"]:
        if "not_run" in row:
            table.add_row(f"{row['prompt_tokens']:,}", "NOT RUN")
            left_out.append(f"{row['prompt_tokens']:,} tokens: NOT RUN: {row['not_run']}")
            continue
        first, token = row["first"], row["token"]
        cells = [f"{row['prompt_tokens']:,}", duration(first["median_s"]), percent(first).removeprefix("± ")]
        cells += [rate(row), percent(token).removeprefix("± ") if token else "-", memory(row["peak_bytes"])]
        cells.append(f"{first['repeats']}{'' if row['steady'] else ' *'}")
        if roof:
            cells.append(f"{100 * row['share_of_read']:.1f} %" if "share_of_read" in row else "-")
        if priced:
            cells.append(f"{row['dollars_per_million_tokens']:.3g}" if "dollars_per_million_tokens" in row else "-")
        table.add_row(*cells)
    console.print(title, soft_wrap=True)  # as a table's title it would be as narrow as the table
    console.print(table)
    for words in (*left_out, *notes(record)):
        console.print(words, soft_wrap=True)


def notes(record: Mapping[str, Any]) -> list[str]:
    """What the figures of a record mean."""
    emulated = record["read"] is None
    taken = "what this process held" if emulated else "what CuPy's pool took from the GPU"
    out = [f"medians, ± half the interquartile range; tokens/s are those after the first token; peak memory: {taken}"]
    if any(not row.get("steady", True) for row in record["rows"]):
        share = f"{100 * benchmark.TOLERANCE:g} %"
        out.append(f"* not steady: the median is not known to {share}; more --repeats or --seconds may help")
    if emulated:
        out.append(EMULATED)
    else:
        gigabytes = record["read"]["bytes_per_s"] / 1e9
        out.append(
            f"of read: weights and cache, once a token, of {gigabytes:,.0f} GB/s, the read bandwidth measured now"
        )
    if record["price_per_hour"] is not None:
        price = f"${record['price_per_hour']:.2f} {'an hour' if emulated else 'a GPU-hour'}"
        out.append(f"$ a million: of tokens after the first, one text at a time, at {price}")
    return out
