"""The tables of whole engines: speed over prompt lengths, beside Transformers, and whether greedy texts are the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.bench_report import duration, memory, percent, rate

Rendered = tuple[list[str], list[list[str]], str]
MEDIANS = (
    "Medians ± half the interquartile range; tokens/s are those after the first; *: the median is not known to 1 %."
)


def bench(records: dict[str, Any]) -> Rendered:
    """What `python -m engine bench` found."""
    record = records["bench"]
    head = ["prompt", "first token", "tokens/s", "peak memory", "runs"]
    roof, priced = record["read"] is not None, record["price_per_hour"] is not None
    head += (["of read bandwidth"] if roof else []) + (["$ a million tokens"] if priced else [])
    rows = []
    for row in record["rows"]:
        if "not_run" in row:
            rows.append([f"{row['prompt_tokens']:,}", f"NOT RUN: {row['not_run']}", *[""] * (len(head) - 2)])
            continue
        cells = [f"{row['prompt_tokens']:,}", *speeds(row), memory(row["peak_bytes"]), runs(row)]
        cells += [share(row)] if roof else []
        cells += [f"{row['dollars_per_million_tokens']:.3g}"] if priced else []
        rows.append(cells)
    how = "day 21's loop" if record["engine"] == "plain" else f"fused steps, {record['weights']} weights"
    note = f"{record['model']}, {how}, {record['tokens']} tokens after each prompt. {MEDIANS}"
    if roof:
        note += f" {of_read(record)}"
    else:
        note += " The emulator on this CPU is measured, not a GPU."
    if priced:
        note += f" $ a million tokens: decode alone, one text at a time, at ${record['price_per_hour']:.2f} a GPU-hour."
    return head, rows, note


def baseline(records: dict[str, Any]) -> Rendered:
    """The headline: one prompt, everybody."""
    record = records["baseline"]
    measured = [row for row in record["rows"] if "contender" in row]
    prompt = measured[0]["prompt_tokens"] if measured else 0
    head = ["model", "engine", "first token", "tokens/s", "of read bandwidth", "peak memory", "runs"]
    rows = [[row["model"], *cells(row)] for row in measured if row["prompt_tokens"] == prompt]
    rows += [
        [row["model"], f"NOT RUN: {row['not_run']}", *[""] * 5] for row in record["rows"] if "contender" not in row
    ]
    tokens = next((row["tokens"] for row in measured if "tokens" in row), 0)
    return head, rows, f"{prompt} tokens of prompt, then {tokens} more, in bfloat16 weights. {_about(record)}"


def lengths(records: dict[str, Any]) -> Rendered:
    """The other prompts, of those who were measured on them."""
    record = records["baseline"]
    measured = [row for row in record["rows"] if "contender" in row]
    headline = measured[0]["prompt_tokens"] if measured else 0
    head = ["model", "prompt", "engine", "first token", "tokens/s", "of read bandwidth", "peak memory", "runs"]
    rows = [
        [row["model"], f"{row['prompt_tokens']:,}", *cells(row)] for row in measured if row["prompt_tokens"] != headline
    ]
    return head, rows, _about(record)


def cells(row: dict[str, Any]) -> list[str]:
    """One contender on one prompt."""
    if "first" not in row:
        why = f"NOT RUN: {row['not_run']}" if "not_run" in row else f"FAILED: {row['failed']}"
        return [row["contender"], why.replace("|", "\\|"), "", "", "", ""]
    return [row["contender"], *speeds(row), share(row), memory(row["peak_bytes"]), runs(row)]


def speeds(row: dict[str, Any]) -> list[str]:
    """Time to first token, and tokens a second."""
    first, token = row["first"], row["token"]
    return [f"{duration(first['median_s'])} {percent(first)}", f"{rate(row)} {percent(token)}" if token else ""]


def share(row: dict[str, Any]) -> str:
    """Of the read bandwidth."""
    return f"{100 * row['share_of_read']:.1f} %" if "share_of_read" in row else "NOT RUN"


def runs(row: dict[str, Any]) -> str:
    """How many, and whether they sufficed."""
    return f"{row['first']['repeats']}{'' if row['steady'] else ' *'}"


def of_read(record: dict[str, Any]) -> str:
    """What the share of the read bandwidth is."""
    read = record["read"]["bytes_per_s"] / 1e12
    return f"Of read bandwidth: weights and cache, once a token, beside {read:.2f} TB/s, measured in the same run."


def _about(record: dict[str, Any]) -> str:
    """What a baseline's figures mean."""
    clocks = sorted({int(row["clock_mhz"]) for row in record["rows"] if row.get("clock_mhz")})
    words = [f"Transformers {record['transformers']} on PyTorch {record['torch']}, in the same run. {MEDIANS}"]
    if record["read"] is not None:
        words.append(of_read(record))
    if clocks:
        between = f"{clocks[0]:,}" if clocks[0] == clocks[-1] else f"{clocks[0]:,} to {clocks[-1]:,}"
        words.append(f"The GPU's clock after each: {between} MHz.")
    return " ".join(words)


def greedy(records: dict[str, Any]) -> Rendered:
    """How many greedy tokens are Transformers', by model and engine."""
    record = records["greedy"]
    head = ["model", "engine", "prompts", "tokens", "equal", "ties", "neither"]
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in record["rows"]:
        groups.setdefault((row["model"], row.get("engine", "")), []).append(row)
    rows = [[*who, *_counted(group)] for who, group in groups.items()]
    note = (
        f"Transformers {record['transformers']} in float32 on the same bfloat16 weights is given each text and asked for the"
        " next token at every place. Tie: its two logits are closer than float32 rounding can tell apart."
    )
    return head, rows, note


def _counted(group: Sequence[dict[str, Any]]) -> list[str]:
    """Prompts, tokens, and what became of these."""
    if all("not_run" in row for row in group):
        return ["NOT RUN", "", "", "", ""]
    failed = sum("failed" in row for row in group)
    counts = (sum(row.get(name, 0) for row in group) for name in ("tokens", "equal", "ties", "wrong"))
    return [f"{len(group)}" + (f", {failed} failed" if failed else ""), *(f"{count:,}" for count in counts)]
