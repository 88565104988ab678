"""The tables of rooflines: a decode step and a prompt of one model, kernel by kernel, from the record of the suite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.record import slug

Rendered = tuple[list[str], list[list[str]], str]


def picture(machine: str, model: str) -> str:
    """The file in docs/ that shows a model on a machine, by the name of its folder in results/."""
    return f"roofline-{machine}-{slug(model.split(',')[0])}.svg"


def of_model(prefix: str) -> Callable[[dict[str, Any]], Rendered]:
    """What renders the table of the model whose name begins so."""

    def render(records: dict[str, Any]) -> Rendered:
        record = records["roofline"]
        entry = next(entry for entry in record["models"] if entry["model"].startswith(prefix))
        head = ["kernel", "launches"]
        if "passes" not in entry:
            return head, [], f"{entry['model']}: NOT RUN, {entry['not_run']}."
        columns = []
        for figures in entry["passes"]:
            what = "step" if figures["tokens"] == 1 else "prompt"
            head += [f"{what}: MB", "op/byte", "µs", "of ceiling", "bound by", "lost, µs"]
            columns.append([_cells(row) for row in figures["kernels"]])
        rows = [
            [f"`{row['name']}`", str(row["launches"]), *(cell for cells in together for cell in cells)]
            for row, *together in zip(entry["passes"][0]["kernels"], *columns, strict=True)
        ]
        return head, rows, _note(record, entry)

    return render


def _cells(row: dict[str, Any]) -> list[str]:
    """One kernel in one pass."""
    work = [f"{row['bytes'] / 1e6:,.3g}", f"{row['intensity']:.3g}"]
    if "not_run" in row:
        return [*work, "NOT RUN", "", "", ""]
    half = 1e6 * (row["quartile3_s"] - row["quartile1_s"]) / 2
    time = f"{1e6 * row['median_s']:,.1f} ± {half:.1f}"
    return [*work, time, f"{100 * row['share']:.0f} %", row["bound"], f"{1e6 * row['lost_s']:,.0f}"]


def _note(record: dict[str, Any], entry: dict[str, Any]) -> str:
    """Which passes, which ceilings, the bottlenecks, and the picture."""
    ceilings, machine = record["ceilings"], record["machine"]["gpu"]
    read, product = ceilings["read"]["bytes_per_s"], ceilings["product"]["operations_per_s"]
    words = [f"{entry['model']}."]
    for figures in entry["passes"]:
        what = f"Step: token {figures['length']:,} of a text" if figures["tokens"] == 1 else "Prompt"
        tokens = "" if figures["tokens"] == 1 else f": {figures['tokens']:,} tokens"
        worst = ", ".join(f"`{name}`" for name in figures["bottlenecks"])
        words.append(f"{what}{tokens}; most time is lost in {worst}.")
    words.append(
        f"Ceilings, measured in the same run: {read / 1e12:.2f} TB/s read, {product / 1e12:.0f} TFLOP/s in bfloat16. A "
        f"launch of nothing takes {1e6 * ceilings['launch']['median_s']:.1f} µs. MB, µs: of one launch, inside the pass, "
        "median ± half the interquartile range; lost: of all launches."
    )
    file = picture(slug(machine), entry["model"])
    return " ".join(words) + f"\n\n![Roofline of {entry['model'].split(',')[0]} on {machine}](../../docs/{file})"
