"""The roofline as a picture: kernels as points below the machine's two ceilings, on logarithmic axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine import pictures
from engine.roofline_report import machine_of, scaled, title

FORMATS = (".svg", ".png", ".pdf")
SALT = "roofline"
WIDTH, HEIGHT = 6.4, 5.0  # inches, of one pass
NEAR = 0.03  # of a decade: points so close share a label
COLOURS = {"bytes": "#1f6fb4", "operations": "#c2571a", None: "#444444"}
MARKERS = {"bytes": "o", "operations": "s", None: "o"}

Figures = Mapping[str, Any]


def check(path: Path) -> None:
    """Refuse a file that cannot be drawn, before anything is measured.

    Raises:
        ValueError: matplotlib is missing, the file's ending is of no picture, or there is no such folder.
    """
    if path.suffix not in FORMATS:
        raise ValueError(f"--plot {path}: expected a file that ends in {', '.join(FORMATS)}")
    if not path.parent.is_dir():
        raise ValueError(f"--plot {path}: there is no folder {path.parent}")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ValueError("--plot needs matplotlib: pip install -e '.[report]'") from error


def write(path: Path, where: str, passes: Sequence[Figures], ceilings: Figures | None) -> None:
    """Draw passes side by side into a file.

    Args:
        where: the model and the device.
        passes: as `engine.roofline_report.measured` returns them.
        ceilings: of the GPU; None for the emulator, which has none.
    """
    if path.suffix == ".svg":
        path.write_text(svg(where, passes, ceilings), encoding="utf-8")
        return
    with pictures.style(SALT):
        _figure(where, passes, ceilings).savefig(path, dpi=160)


def svg(where: str, passes: Sequence[Figures], ceilings: Figures | None) -> str:
    """The picture as SVG, the same for the same figures; what it shows is in its description, for who cannot see it."""
    with pictures.style(SALT):
        return pictures.drawn(_figure(where, passes, ceilings), where, description(passes, ceilings))


def description(passes: Sequence[Figures], ceilings: Figures | None) -> str:
    """The picture in words."""
    words = []
    if ceilings is not None:
        machine = machine_of(ceilings)
        words.append(f"Ceilings: {scaled(machine.bytes_per_s)}B/s and {scaled(machine.operations_per_s)} op/s.")
    for figures in passes:
        points = (f"{name} {x:.3g} op/byte at {scaled(y)} op/s" for name, x, y, _ in _points(figures))
        words.append(f"{title(figures)}: {', '.join(points)}.")
    return " ".join(words)


def _points(figures: Figures) -> list[tuple[str, float, float, str | None]]:
    """Name, intensity, operations a second and bound of each kernel that has operations."""
    return [
        (row["name"], row["intensity"], row["operations"] / row["median_s"], row.get("bound"))
        for row in figures["kernels"]
        if row["operations"] and "median_s" in row
    ]


def _figure(where: str, passes: Sequence[Figures], ceilings: Figures | None) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH * len(passes), HEIGHT), layout="constrained")
    figure.suptitle(where, fontsize=10)
    for axes, figures in zip(figure.subplots(1, len(passes), squeeze=False)[0], passes, strict=True):
        _draw(axes, figures, ceilings)
    return figure


def _draw(axes: Any, figures: Figures, ceilings: Figures | None) -> None:
    points = _points(figures)
    xs, ys = [x for _, x, _, _ in points], [y for _, _, y, _ in points]
    left, right, bottom, top = min(xs) / 2, 2 * max(xs), min(ys) / 3, 3 * max(ys)
    if ceilings is not None:
        machine = machine_of(ceilings)
        ridge = machine.operations_per_s / machine.bytes_per_s
        right, top = max(right, 4 * ridge), 3 * machine.operations_per_s
        axes.plot(
            [left, ridge, right], [left * machine.bytes_per_s, *[machine.operations_per_s] * 2], color="#222222", linewidth=1.4
        )  # fmt: skip
        axes.annotate(f"{scaled(machine.operations_per_s)} op/s", (ridge, machine.operations_per_s), (0, 4),
                      textcoords="offset points", ha="right")  # fmt: skip
        middle = (left * ridge) ** 0.5
        axes.annotate(f"{scaled(machine.bytes_per_s)}B/s", (middle, middle * machine.bytes_per_s), (-4, 4),
                      textcoords="offset points", ha="right")  # fmt: skip
    axes.set(xscale="log", yscale="log", xlim=(left, right), ylim=(bottom, top), title=title(figures))
    axes.set(xlabel="intensity, operations for each byte", ylabel="operations a second")
    axes.grid(which="major")
    for bound in dict.fromkeys(bound for *_, bound in points):
        mine = [(x, y) for _, x, y, one in points if one == bound]
        style = {"linestyle": "", "marker": MARKERS[bound], "color": COLOURS[bound], "markersize": 5}
        axes.plot(*zip(*mine, strict=True), label=bound and f"bound by {bound}", **style)
    if ceilings is not None:
        axes.legend(loc="upper left", frameon=False, handletextpad=0.2)
    _label(axes, points, bottom, top)


def _label(axes: Any, points: Sequence[tuple[str, float, float, str | None]], bottom: float, top: float) -> None:
    """Names in a column beside the axes, in the order of the points' heights, each with a thin line to its point."""
    from math import log10

    groups: list[tuple[list[str], float, float]] = []
    for name, x, y, _ in sorted(points, key=lambda point: point[2]):
        near = next((g for g in groups if abs(log10(g[1] / x)) < NEAR and abs(log10(g[2] / y)) < NEAR), None)
        if near is None:
            groups.append(([name], x, y))
        else:
            near[0].append(name)
    wanted = [log10(y / bottom) / log10(top / bottom) for _, _, y in groups]
    for (names, x, y), height in zip(groups, _apart(wanted, 0.042), strict=True):
        axes.annotate(
            ", ".join(names), (x, y), (1.03, height), "data", "axes fraction", va="center", fontsize=8,
            arrowprops={"arrowstyle": "-", "color": "#b0b0b0", "linewidth": 0.6, "shrinkA": 1, "shrinkB": 3},
        )  # fmt: skip


def _apart(wanted: Sequence[float], least: float) -> list[float]:
    """Heights in rising order, at least so far apart and within 0 to 1 where there is room, near where they are wanted."""
    out: list[float] = []
    for height in wanted:
        out.append(max(height, out[-1] + least) if out else max(height, 0.0))
    limit = 1.0
    for number in reversed(range(len(out))):
        out[number] = min(out[number], limit)
        limit = out[number] - least
    return out
