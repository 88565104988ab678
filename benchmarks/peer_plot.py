"""Engines side by side as bars: decode steps, time to the first token of the longest prompt, the most texts at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.peer_tables import one_of
from engine import pictures

WIDTH, BAR_HEIGHT = 8.6, 0.3  # inches
OURS, THEIRS = "#1f6fb4", "#b9c4cf"
Bars = list[tuple[str, float, bool]]  # whose, how much, whether ours


def panels(record: Mapping[str, Any]) -> dict[str, Bars]:
    """Bars by what they show; nothing that was not measured."""
    plan = record["plan"]
    longest, most = max(plan["ttft"]), max(plan["batches"])
    found: dict[str, Bars] = {"tokens a second": [], f"first token of {longest:,}, ms (shorter is better)": []}
    if most > 1:
        found[f"tokens a second, {most} texts at once"] = []
    for peer in record["peers"]:
        sizes = [
            one_of(peer, "decode"),
            one_of(peer, "first", prompt_tokens=longest),
            one_of(peer, "batches", texts=most),
        ]
        whose = f"{peer['label'].strip().replace('**', '').replace('`', '')}, {peer['weights']}"
        for number, (bars, one) in enumerate(zip(found.values(), sizes, strict=False)):
            if not one or "failed" in one or "not_run" in one:
                continue
            value = 1e3 * one["first"]["median_s"] if number == 1 else one["tokens_per_s"]
            if value:
                bars.append((whose, value, peer["name"].startswith("ours")))
    return {what: bars for what, bars in found.items() if bars}


def described(record: Mapping[str, Any]) -> str:
    """The picture in words; "" where nothing was measured."""
    return " ".join(
        f"{what}: {'; '.join(f'{whose} {value:,.4g}' for whose, value, _ in bars)}."
        for what, bars in panels(record).items()
    )


def svg(record: Mapping[str, Any]) -> str:
    """The picture."""
    from matplotlib.figure import Figure

    shown = panels(record)
    plan = record["plan"]
    title = (
        f"{record['model']} on {record['machine']['gpu']}: {plan['tokens']} tokens after a prompt of {plan['prompt']}"
    )
    with pictures.style("peers"):
        rows = [len(bars) + 1.6 for bars in shown.values()]
        figure = Figure(figsize=(WIDTH, BAR_HEIGHT * sum(rows) + 0.4), layout="constrained")
        figure.suptitle(title, fontsize=10)
        all_axes = figure.subplots(len(shown), 1, squeeze=False, height_ratios=rows)[:, 0]
        for axes, (what, bars) in zip(all_axes, shown.items(), strict=True):
            _draw(axes, what, bars)
        return pictures.drawn(figure, title, described(record))


def _draw(axes: Any, what: str, bars: Bars) -> None:
    places = range(len(bars))
    drawn = axes.barh(places, [value for _, value, _ in bars], color=[OURS if ours else THEIRS for *_, ours in bars])
    axes.bar_label(drawn, [f"{value:,.0f}" if value >= 100 else f"{value:.3g}" for _, value, _ in bars], padding=3)
    axes.set_yticks(places, [whose for whose, *_ in bars])
    axes.invert_yaxis()
    axes.set_title(what, loc="left", fontsize=9)
    axes.set_xlim(0, 1.12 * max(value for _, value, _ in bars))
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(axis="y", length=0)
