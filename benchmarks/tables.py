"""Writes the measured tables into the pages, from the records in results/: no figure is ever typed.

    python benchmarks/tables.py [--check]

A page has `<!-- measured: begin NAME -->` and `<!-- measured: end -->`; what stands between them is generated.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS = REPOSITORY / "results"
BLOCK = re.compile(r"(<!-- measured: begin (\S+) -->\n)(.*?)(<!-- measured: end -->)", re.DOTALL)


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def source(record: dict[str, Any], path: Path) -> str:
    """Where a table comes from."""
    machine = record["machine"]
    where = machine.get("gpu") or f"{machine['cpu']}, {machine['cores']} cores"
    return f"\n{where}, {record['date']}, `{record['command']}` → `{path.relative_to(REPOSITORY).as_posix()}`.\n"


def day07(records: dict[str, tuple[Path, dict[str, Any]]]) -> str:
    """RMSNorm beside the copy bandwidth and beside PyTorch."""
    path, record = records["nvidia-h200/day07"]
    rows = []
    for shape in record["shapes"]:
        torch = shape.get("torch")
        rows.append(
            [
                f"{shape['rows']:,} × {shape['hidden']:,}",
                shape["dtype"],
                f"{1e6 * shape['median_s']:.1f}",
                f"{1e6 * (shape['quartile3_s'] - shape['quartile1_s']):.2f}",
                f"{shape['bytes_per_s'] / 1e9:,.0f}",
                f"{100 * shape['share_of_copy']:.0f} %",
                f"{torch['bytes_per_s'] / 1e9:,.0f}" if torch else "NOT RUN",
            ]
        )
    head = ["rows × hidden", "dtype", "µs", "spread", "GB/s", "of copy bandwidth", "torch `rms_norm`, GB/s"]
    copy = records["nvidia-h200/ceilings"][1]["copy"]["bytes_per_s"]
    note = (
        f"\nThe copy bandwidth of the same run is {copy / 1e12:.2f} TB/s; each call reads and writes its rows once.\n"
    )
    return table(head, rows) + note + source(record, path)


def validation(records: dict[str, tuple[Path, dict[str, Any]]]) -> str:
    """The corpus of planted faults: the emulator's checker beside compute-sanitizer."""
    path, ours = records["cpu/corpus"]
    theirs = records.get("nvidia-h200/sanitizer", (path, {"cases": {}}))[1]["cases"]
    kinds: dict[str, list[dict[str, Any]]] = {}
    for case in ours["cases"]:
        kinds.setdefault(case["fault"], []).append(case)
    rows = []
    for kind, cases in kinds.items():
        right = sum(c["right"] for c in cases)
        tools = [theirs.get(c["name"]) for c in cases]
        if any(t is None for t in tools):
            sanitizer = "NOT RUN"
        else:
            sanitizer = f"{sum(bool(t['found']) for t in tools)} of {len(cases)}"
        ours_said = f"{right} of {len(cases)}" if kind != "none" else f"{len(cases) - right} of {len(cases)}"
        rows.append(["correct (false alarms)" if kind == "none" else kind, ours_said, sanitizer])
    head = ["planted fault", "found by this checker, right kind and line", "found by compute-sanitizer (any tool)"]
    return table(head, rows) + source(ours, path)


def costs(records: dict[str, tuple[Path, dict[str, Any]]]) -> str:
    """Cost counters beside Nsight Compute."""
    path, record = records["nvidia-h200/costs"]
    rows = [
        [f"`{r['kernel']}`", r["counter"], f"{r['emulator']:,}", f"{r['ncu']:,}", f"{r['ratio']:.2f}", r["why"]]
        for r in record["rows"]
    ]
    return table(["kernel", "counter", "emulator", "Nsight Compute", "ratio", "why they differ"], rows) + source(
        record, path
    )


def throughput(records: dict[str, tuple[Path, dict[str, Any]]]) -> str:
    """The emulator's speed."""
    path, record = records["cpu/emulator"]
    rows = [[r["what"], r["figure"]] for r in record["rows"]]
    return table(["what", "measured"], rows) + source(record, path)


TABLES: dict[str, Callable[[dict[str, tuple[Path, dict[str, Any]]]], str]] = {
    "day07": day07,
    "validation": validation,
    "costs": costs,
    "throughput": throughput,
}


def main() -> int:
    """Write, or with --check compare; 1 when a page is out of date."""
    check = "--check" in sys.argv[1:]
    records = {
        f.relative_to(RESULTS).with_suffix("").as_posix(): (f, json.loads(f.read_text()))
        for f in RESULTS.rglob("*.json")
    }
    stale = []
    for page in sorted(REPOSITORY.rglob("*.md")):
        if any(part.startswith(".") for part in page.relative_to(REPOSITORY).parts):
            continue
        text = page.read_text()
        made = BLOCK.sub(lambda m: m[1] + TABLES[m[2]](records) + m[4], text)
        if made != text:
            stale.append(page.relative_to(REPOSITORY))
            if not check:
                page.write_text(made)
    for page in stale:
        print(f"{'out of date' if check else 'written'}: {page}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
