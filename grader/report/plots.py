"""Plots as SVG that lives in the page: its colours are the page's own, light or dark; every series has its own shape."""

from __future__ import annotations

import html
import io
import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from grader.report.facts import Facts

WIDTH, HEIGHT = 4.9, 3.2  # inches of 72 units, about one pixel each on a page
INK, MUTED, LINE = "#010101", "#020202", "#030303"
SERIES = ("#0a0001", "#0a0002", "#0a0003", "#0a0004", "#0a0005")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
VARIABLES = {INK: "--ink", MUTED: "--muted", LINE: "--line", **{c: f"--series{i}" for i, c in enumerate(SERIES, 1)}}
OVER = 1.22  # where errors over the budget are drawn, however large


@dataclass(frozen=True)
class Plot:
    """One plot for the page."""

    name: str
    title: str
    text: str  # what it shows, for who cannot see it
    svg: str


def why_not() -> str:
    """Why there are no plots here; "" where there are."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return "matplotlib is not installed (pip install -e '.[report]')"
    return ""


def draw(facts: Facts) -> list[Plot]:
    """Every plot that there are data for."""
    if why_not():
        return []
    made = (_days_over_time(facts), _shares(facts), _cost_ratios(facts))
    return [plot for plot in made if plot is not None]


def _plot(name: str, title: str, text: str, fill: Callable[[Any], None]) -> Plot:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style: dict[Any, Any] = {
        "svg.fonttype": "none", "svg.hashsalt": name, "font.size": 11, "text.color": INK, "axes.edgecolor": LINE,
        "axes.labelcolor": MUTED, "xtick.color": LINE, "ytick.color": LINE, "xtick.labelcolor": MUTED,
        "ytick.labelcolor": MUTED, "axes.spines.top": False, "axes.spines.right": False, "grid.color": LINE,
        "grid.linewidth": 0.6, "axes.axisbelow": True, "legend.frameon": False, "lines.markersize": 5.5,
    }  # fmt: skip
    with mpl.rc_context(style):
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        axes = figure.add_subplot()
        axes.grid(axis="y")
        fill(axes)
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return Plot(name, title, text, _for_page(out.getvalue(), name, title, text))


def _for_page(svg: str, name: str, title: str, text: str) -> str:
    """Matplotlib's SVG as part of a page: named, described, its identifiers its own, its colours the page's."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="|url\()#', rf"\g<1>#{name}-", svg)
    svg = re.sub(r"font-family: [^;\"]*;?", "", svg)
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", svg)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    described = (
        f'<title id="{name}-title">{html.escape(title)}</title><desc id="{name}-desc">{html.escape(text)}</desc>'
    )
    view = re.search(r'viewBox="[^"]*"', svg)
    head = f'<svg {view[0] if view else ""} role="img" aria-labelledby="{name}-title {name}-desc" xmlns="http://www.w3.org/2000/svg"'
    head += ' xmlns:xlink="http://www.w3.org/1999/xlink">'
    return re.sub(r"<svg[^>]*>", lambda _: head + described, svg, count=1).strip()


def _day_axis(axes: Any, last: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlim(0.4, max(last, 7) + 0.6)
    axes.set_xlabel("day")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


# ---- the plots -------------------------------------------------------------------------------------------------------


def _days_over_time(facts: Facts) -> Plot | None:
    passes = facts.first_passes
    if not passes:
        return None
    times = [when for when, _ in passes]
    counts = list(range(1, len(passes) + 1))
    text = f"{len(passes)} of {len(facts.days)} days have passed at least once, the first on {times[0]:%-d %b %Y}"
    text += f", the latest on {times[-1]:%-d %b %Y}." if len(passes) > 1 else "."

    def fill(axes: Any) -> None:
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
        from matplotlib.ticker import MaxNLocator

        axes.plot([*times, facts.made], [*counts, counts[-1]], drawstyle="steps-post", color=SERIES[0], linewidth=1.8)
        axes.plot(times, counts, linestyle="", marker="o", color=SERIES[0])
        locator = AutoDateLocator(minticks=3, maxticks=6)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylim(0, max(counts) * 1.08 + 1)
        axes.set_ylabel("days passed")

    return _plot("over-time", "Days passed over time", text, fill)


def _shares(facts: Facts) -> Plot | None:
    points = [(d.day.number, share) for d in facts.days for _, share in d.shares]
    if not points:
        return None
    inside = [(day, share) for day, share in points if share <= 1]
    over = [day for day, share in points if not share <= 1]
    worst = max(inside, key=lambda p: p[1], default=None)
    text = f"{len(inside)} cases are within the budget"
    text += f", the nearest to it with {100 * worst[1]:.0f}\N{NO-BREAK SPACE}% on day {worst[0]}." if worst else "."
    text += f" {len(over)} {'is' if len(over) == 1 else 'are'} over it." if over else ""

    def fill(axes: Any) -> None:
        axes.axhline(1, color=INK, linewidth=1.2, linestyle=(0, (5, 3)))
        axes.annotate(
            "the budget",
            (1, 1),
            (-2, 3),
            ("axes fraction", "data"),
            "offset points",
            ha="right",
            va="bottom",
            fontsize=10,
        )
        for day, group in itertools.groupby(inside, key=lambda p: p[0]):
            values = [share for _, share in group]
            spread = [day + 0.5 * ((i + 0.5) / len(values) - 0.5) for i in range(len(values))]
            axes.plot(spread, values, linestyle="", marker="o", markersize=4, color=SERIES[0], alpha=0.75)
        if over:
            axes.plot(over, [OVER] * len(over), linestyle="", marker="^", color=SERIES[1])
        _day_axis(axes, max(day for day, _ in points))
        axes.set_ylim(0, OVER + 0.08)
        ticks = {0.0: "0 %", 0.25: "25 %", 0.5: "50 %", 0.75: "75 %", 1.0: "100 %"} | ({OVER: "over"} if over else {})
        axes.set_yticks(list(ticks), list(ticks.values()))
        axes.set_ylabel("error, of what is allowed")

    return _plot("shares", "Error of each case, as a share of its budget", text, fill)


def _cost_ratios(facts: Facts) -> Plot | None:
    series: dict[str, list[tuple[int, float]]] = {}
    for day in facts.days:
        limited = [cost for cost in day.costs if cost.limit is not None]
        for cost in limited or day.costs:
            if cost.ratio is not None:
                series.setdefault(cost.counter, []).append((day.day.number, cost.ratio))
    if not series:
        return None
    everything = [p for points in series.values() for p in points]
    highest = max(everything, key=lambda p: p[1])
    text = f"{len(everything)} counts beside the reference's; "
    text += f"the highest is {highest[1]:.2f} times as much, on day {highest[0]}."

    def fill(axes: Any) -> None:
        axes.axhline(1, color=INK, linewidth=1.2, linestyle=(0, (5, 3)))
        names = sorted(series)
        for i, name in enumerate(names):
            shift = 0.6 * ((i + 0.5) / len(names) - 0.5)
            axes.plot(
                [day + shift for day, _ in series[name]], [ratio for _, ratio in series[name]], linestyle="",
                marker=MARKERS[i % len(MARKERS)], color=SERIES[i % len(SERIES)], label=name,
            )  # fmt: skip
        _day_axis(axes, max(day for day, _ in everything))
        lowest = min(ratio for _, ratio in everything)
        axes.set_ylim(min(0.8, lowest - 0.1), max(1.6, highest[1] * 1.1))
        axes.set_ylabel("times the reference")
        axes.figure.legend(loc="outside lower center", ncols=3, columnspacing=1.2, handletextpad=0.3)

    return _plot("costs", "Costs, as multiples of the reference's", text, fill)
