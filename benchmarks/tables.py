"""Writes the measured tables into the pages, from the records in results/: no figure is ever typed.

    python benchmarks/tables.py [--check]

A page has `<!-- measured: begin NAME -->` and `<!-- measured: end -->`; what stands between them is generated, for every
machine that has the record, and says so where none has.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from benchmarks import checkpoint_tables, engine_tables, peer_tables, roofline_tables, version_tables  # noqa: E402

BLOCK = re.compile(r"(<!-- measured: begin (\S+) -->\n)(.*?)(<!-- measured: end -->)", re.DOTALL)
NOT_MEASURED = "Not measured yet.\n"
SUITE = "python benchmarks/gpu.py --suite"
BESIDE_CEILINGS = f"{SUITE} ceilings --suite"


@dataclass(frozen=True)
class Table:
    """One kind of table.

    Attributes:
        needs: names of the records it is made of, all of one machine; the first is the one it cites.
        also: names of records that it uses where they exist, from any machine.
        render: heading row, rows and a closing sentence from those records, by name.
        command: that makes the records; a page that has none of them shows it.
    """

    needs: tuple[str, ...]
    render: Callable[[dict[str, Any]], tuple[list[str], list[list[str]], str]]
    also: tuple[str, ...] = ()
    command: str = ""


def microseconds(figures: dict[str, Any]) -> str:
    """Median and interquartile range."""
    return f"{1e6 * figures['median_s']:.1f} ± {1e6 * (figures['quartile3_s'] - figures['quartile1_s']) / 2:.2f}"


def gigabytes(figures: dict[str, Any] | None) -> str:
    """Bytes per second, or that nobody measured it."""
    return f"{figures['bytes_per_s'] / 1e9:,.0f}" if figures and "bytes_per_s" in figures else "NOT RUN"


def bandwidth(day: str, ceiling: str, torch: str, labels: dict[str, Callable[[dict[str, Any]], str]]) -> Table:
    """The table of a day's kernel beside the machine's bandwidth, a CuPy expression and PyTorch.

    Args:
        ceiling: the bandwidth that it stands beside, `read` or `copy`.
        torch: what PyTorch has for it.
        labels: the first columns: heading, and text from a shape.
    """

    def render(records: dict[str, Any]) -> tuple[list[str], list[list[str]], str]:
        shapes = [shape for shape in records[day]["shapes"] if "not_run" not in shape]
        rows = [
            [
                *(label(shape) for label in labels.values()),
                microseconds(shape),
                gigabytes(shape),
                f"{100 * shape[f'share_of_{ceiling}']:.0f} %",
                gigabytes(shape.get("cupy")),
                gigabytes(shape.get("torch")),
            ]
            for shape in shapes
        ]
        not_run = len(records[day]["shapes"]) - len(rows)
        head = [*labels, "µs", "GB/s", f"of {ceiling} bandwidth", "CuPy, GB/s", f"torch `{torch}`, GB/s"]
        most = records["ceilings"][ceiling]["bytes_per_s"]
        note = (
            f"The {ceiling} bandwidth, measured in the same run, is {most / 1e12:.2f} TB/s. µs: median of one call in a CUDA "
            "graph, ± half the interquartile range, over rotating buffers; the smallest shapes fit into the L2 cache all the "
            "same and are bound by latency."
        ) + (f" NOT RUN: {not_run} shapes that do not fit into the memory." if not_run else "")
        return head, rows, note

    return Table((day, "ceilings"), render)


def teraflops(figures: dict[str, Any] | None) -> str:
    """Operations per second, or that nobody measured them."""
    return f"{figures['operations_per_s'] / 1e12:.3g}" if figures and "operations_per_s" in figures else "NOT RUN"


IN_GRAPHS = (
    "µs: median of one call in a CUDA graph, ± half the interquartile range, over rotating buffers; float32 throughout."
)


def day13(records: dict[str, Any]) -> tuple[list[str], list[list[str]], str]:
    """Attention with all scores in memory, beside a CuPy expression and PyTorch."""
    rows = [
        [
            f"{shape['tokens']:,}",
            f"{shape['score_bytes'] / 2**20:,.0f}",
            microseconds(shape),
            teraflops(shape),
            teraflops(shape.get("cupy")),
            teraflops(shape.get("torch")),
        ]
        for shape in records["day13"]["shapes"]
        if "not_run" not in shape
    ]
    attention = "torch `scaled_dot_product_attention`, TFLOP/s"
    head = ["tokens, 32 heads of 64", "scores, MiB", "µs", "TFLOP/s", "CuPy, TFLOP/s", attention]
    return head, rows, IN_GRAPHS


def day14(records: dict[str, Any]) -> tuple[list[str], list[list[str]], str]:
    """Grouped query attention, for prompts and single tokens, beside a CuPy expression and PyTorch."""
    rows = [
        [
            f"{shape['tokens']:,} × {shape['length']:,}",
            f"{shape['heads']} on {shape['kv_heads']}",
            microseconds(shape),
            teraflops(shape),
            f"{100 * shape['share_of_read']:.1f} %",
            teraflops(shape.get("cupy")),
            teraflops(shape.get("torch")),
        ]
        for shape in records["day14"]["shapes"]
        if "not_run" not in shape
    ]
    attention = "torch `scaled_dot_product_attention`, TFLOP/s"
    head = ["queries × keys", "heads of 64", "µs", "TFLOP/s", "of read bandwidth", "CuPy, TFLOP/s", attention]
    read = records["ceilings"]["read"]["bytes_per_s"]
    note = f"Q, K, V and the result, each once, in that time: share of the read bandwidth of {read / 1e12:.2f} TB/s. "
    return head, rows, note + IN_GRAPHS


def day20(records: dict[str, Any]) -> tuple[list[str], list[list[str]], str]:
    """One query against the cache, beside day 14's kernel, a CuPy expression and PyTorch."""
    rows = [
        [
            f"{shape['length']:,}",
            f"{shape['heads']} on {shape['kv_heads']}",
            microseconds(shape),
            gigabytes(shape),
            f"{100 * shape['share_of_read']:.1f} %",
            gigabytes(shape.get("day14")),
            gigabytes(shape.get("cupy")),
            gigabytes(shape.get("torch")),
        ]
        for shape in records["day20"]["shapes"]
        if "not_run" not in shape
    ]
    attention = "torch `scaled_dot_product_attention`, GB/s"
    head = ["keys", "heads of 64", "µs", "GB/s", "of read bandwidth", "day 14, GB/s", "CuPy, GB/s", attention]
    read = records["ceilings"]["read"]["bytes_per_s"]
    note = f"The query, K, V and the result, each once; the read bandwidth is {read / 1e12:.2f} TB/s. "
    return head, rows, note + IN_GRAPHS


def products(day: str, others: dict[str, str], multiple_of: str = "") -> Table:
    """The table of a day's matrix products.

    Args:
        others: heading of each that is timed beside ours, by its name in the record.
        multiple_of: the one of them that ours is said to be so many times as fast as.
    """

    def render(records: dict[str, Any]) -> tuple[list[str], list[list[str]], str]:
        def times(shape: dict[str, Any]) -> list[str]:
            theirs = shape.get(multiple_of, {}).get("operations_per_s")
            return [f"{shape['operations_per_s'] / theirs:.1f} ×" if theirs else "NOT RUN"] if multiple_of else []

        shapes = records[day]["shapes"]
        rows = [
            [
                f"{shape['tokens']:,} × {shape['rows']:,} × {shape['columns']:,}",
                microseconds(shape),
                teraflops(shape),
                *(teraflops(shape.get(name)) for name in others),
                *times(shape),
            ]
            for shape in shapes
            if "not_run" not in shape
        ]
        head = ["tokens × rows × columns", "µs", "TFLOP/s", *(f"{heading}, TFLOP/s" for heading in others.values())]
        head += [f"of {others[multiple_of]}"] if multiple_of else []
        not_run = len(shapes) - len(rows)
        note = "µs: median of one call in a CUDA graph, ± half the interquartile range, over rotating buffers." + (
            f" NOT RUN: {not_run} shapes that do not fit into the memory." if not_run else ""
        )
        return head, rows, note

    return Table((day,), render)


def validation(records: dict[str, Any]) -> tuple[list[str], list[list[str]], str]:
    """The corpus of planted faults: the emulator's checker beside compute-sanitizer."""
    ours, theirs = records["corpus"], records.get("sanitizer", {"cases": {}})["cases"]
    kinds: dict[str, list[dict[str, Any]]] = {}
    for case in ours["cases"]:
        kinds.setdefault(case["fault"], []).append(case)

    def said(cases: list[dict[str, Any]]) -> str:
        known = [theirs[c["name"]] for c in cases if c["name"] in theirs]
        found = sum(bool(t["found"]) for t in known)
        hung = sum(bool(t["timed_out"]) and not t["found"] for t in known)
        return (f"{found} of {len(known)}" + (f"; {hung} hung" if hung else "")) if known else "NOT RUN"

    def right(cases: list[dict[str, Any]]) -> str:
        return f"{sum(c['right'] for c in cases)} of {len(cases)}"

    correct = kinds.pop("none", [])
    faults = [c for cases in kinds.values() for c in cases]
    rows = [[kind, right(cases), said(cases)] for kind, cases in kinds.items()]
    rows.append(["**all faults**", f"**{right(faults)}**", f"**{said(faults)}**"])
    alarms = sum(not c["right"] for c in correct)
    rows.append(["none (correct): false alarms", f"{alarms} of {len(correct)}", said(correct)])
    head = ["planted fault", "this checker: right kind, array and line", "compute-sanitizer: any of four tools"]
    note = f"Here under {ours['schedules']} schedules each; there under memcheck, racecheck, initcheck and synccheck"
    if "sanitizer" in records:
        machine = records["sanitizer"]["machine"]
        note += f" of version {machine['sanitizer']} on {machine['gpu']}, {records['sanitizer']['date']}"
    return head, rows, note + "."


def costs(records: dict[str, Any]) -> tuple[list[str], list[list[str]], str]:
    """Cost counters beside Nsight Compute."""
    counts = records["costs"]["rows"]
    counters = sorted({r["counter"] for r in counts})
    by_kernel: dict[str, dict[str, dict[str, Any]]] = {}
    for r in counts:
        by_kernel.setdefault(r["kernel"], {})[r["counter"]] = r

    def cell(r: dict[str, Any] | None) -> str:
        if r is None:
            return ""
        return f"{r['emulator']:,}" if r["emulator"] == r["ncu"] else f"**{r['emulator']:,}** / {r['ncu']:,}"

    rows = [[f"`{kernel}`", *(cell(found.get(c)) for c in counters)] for kernel, found in by_kernel.items()]
    same = sum(r["emulator"] == r["ncu"] for r in counts)
    note = f"{same} of {len(counts)} counts are equal; where they are not, the emulator's stands in bold before ncu's."
    return ["kernel", *counters], rows, note


def forward(records: dict[str, Any]) -> tuple[list[str], list[list[str]], str]:
    """Whole models beside Transformers."""
    rows = [
        [
            row["model"],
            f"{row['tokens']:,}",
            f"{row['error']:.1e}",
            f"{row['transformers_bfloat16_error']:.1e}",
            f"{row['same_next_tokens']:,}",
            f"{row['transformers_bfloat16_same_next_tokens']:,}",
        ]
        for row in records["forward"]["rows"]
        if "not_run" not in row
    ]
    head = [
        "model",
        "tokens",
        "error",
        "error of Transformers in bfloat16",
        "same next tokens",
        "of Transformers in bfloat16",
    ]
    note = (
        f"Both beside Transformers {records['forward']['transformers']} in float32 on the same bfloat16 weights. Error:"
        " relative, in the Euclidean norm, of all positions' logits. Same next tokens: positions at which the likeliest"
        " token is the same."
    )
    return head, rows, note


def throughput(records: dict[str, Any]) -> tuple[list[str], list[list[str]], str]:
    """The emulator's speed."""
    rows = []
    for row in records["emulator"]["rows"]:
        half = (row["quartile3_s"] - row["quartile1_s"]) / 2 / row["median_s"]
        rows.append([row["what"], row["figure"], f"± {100 * half:.0f} %"])
    return ["what", "median", "half the interquartile range"], rows, ""


TABLES: dict[str, Table | Callable[[dict[str, dict[str, Any]]], str]] = {  # or what makes all of the text
    "day02": bandwidth("day02", "copy", "float()", {"elements": lambda s: f"{s['elements']:,}"}),
    "day05": bandwidth(
        "day05",
        "copy",
        "embedding",
        {"tokens": lambda s: f"{s['tokens']:,}", "table": lambda s: f"{s['vocabulary']:,} × {s['hidden']:,}"},
    ),
    "day06": bandwidth(
        "day06",
        "read",
        "sum` / `amax",
        {"kernel": lambda s: f"`{s['function']}`", "rows × columns": lambda s: f"{s['rows']:,} × {s['columns']:,}"},
    ),
    "day07": bandwidth(
        "day07",
        "copy",
        "rms_norm",
        {"rows × hidden": lambda s: f"{s['rows']:,} × {s['hidden']:,}", "dtype": lambda s: s["dtype"]},
    ),
    "day08": bandwidth("day08", "read", "@", {"rows × columns": lambda s: f"{s['rows']:,} × {s['columns']:,}"}),
    "day09": products("day09", {"cupy": "CuPy `@`", "torch": "torch `@`"}),
    "day10": products("day10", {"day09": "day 9", "torch": "torch `@` in bfloat16"}, multiple_of="day09"),
    "day11": bandwidth(
        "day11",
        "copy",
        "x * cos + rotate_half(x) * sin",
        {
            "tokens": lambda s: f"{s['tokens']:,}",
            "heads × numbers": lambda s: f"{s['heads']} × {s['head_dim']}",
        },
    ),
    "day12": bandwidth("day12", "copy", "softmax", {"rows × columns": lambda s: f"{s['rows']:,} × {s['columns']:,}"}),
    "day13": Table(("day13",), day13),
    "day14": Table(("day14", "ceilings"), day14),
    "day15": bandwidth(
        "day15",
        "copy",
        "silu(gate) * up",
        {"tokens × intermediate": lambda s: f"{s['tokens']:,} × {s['intermediate']:,}"},
    ),
    "day18": bandwidth(
        "day18", "read", "argmax", {"rows × vocabulary": lambda s: f"{s['rows']:,} × {s['vocabulary']:,}"}
    ),
    "day20": Table(("day20", "ceilings"), day20),
    "forward": Table(("forward",), forward),
    "day22": bandwidth(
        "day22",
        "read",
        "topk` / `sort",
        {"filter": lambda s: s["settings"], "rows × vocabulary": lambda s: f"{s['rows']:,} × {s['vocabulary']:,}"},
    ),
    "bench": Table(("bench",), engine_tables.bench),
    "greedy": Table(("greedy",), engine_tables.greedy, command=f"{SUITE} greedy"),
    "baseline": Table(("baseline",), engine_tables.baseline, command=f"{BESIDE_CEILINGS} baseline"),
    "baseline-lengths": Table(("baseline",), engine_tables.lengths, command=f"{BESIDE_CEILINGS} baseline"),
    "peers": Table(("peers",), peer_tables.of_record("peers")),
    "peers-smollm2": Table(("peers-smollm2-135m",), peer_tables.of_record("peers-smollm2-135m")),
    "peers-bar": Table(("peers",), peer_tables.bar, also=("peers-smollm2-135m",)),
    "roofline": Table(("roofline",), roofline_tables.of_model("Llama-3.2-1B"), command=f"{BESIDE_CEILINGS} roofline"),
    "roofline-smollm2": Table(
        ("roofline",), roofline_tables.of_model("SmolLM2-135M"), command=f"{BESIDE_CEILINGS} roofline"
    ),
    "checkpoint-1": checkpoint_tables.speeds,
    "checkpoint-1-kernels": checkpoint_tables.kernels,
    "decode-versions": version_tables.decode_versions,
    "decode-kernels": version_tables.decode_kernels,
    "validation": Table(("corpus",), validation, also=("sanitizer",)),
    "costs": Table(("costs",), costs),
    "throughput": Table(("emulator",), throughput),
}


def read(results: Path) -> dict[str, dict[str, Any]]:
    """All records: by machine, then by name."""
    machines: dict[str, dict[str, Any]] = {}
    for file in sorted(results.glob("*/*.json")):
        machines.setdefault(file.parent.name, {})[file.stem] = json.loads(file.read_text())
    return machines


def markdown(table: Table | Callable[..., str], machines: dict[str, dict[str, Any]]) -> str:
    """The table of every machine that has its records, each with where it comes from."""
    if not isinstance(table, Table):
        return table(machines)
    out = []
    for folder, records in machines.items():
        if not all(name in records for name in table.needs):
            continue
        used = {name: other[name] for other in machines.values() for name in table.also if name in other}
        head, rows, note = table.render({**used, **{name: records[name] for name in table.needs}})
        lines = [" | ".join(cells) for cells in [head, ["---"] * len(head), *rows]]
        record = records[table.needs[0]]
        machine = record["machine"]
        where = machine.get("gpu") or f"{machine['cpu']}, {machine['cores']} cores"
        source = f"{where}, {record['date']}, `{record['command']}` → `results/{folder}/{table.needs[0]}.json`."
        out.append("\n".join(f"| {line} |" for line in lines) + f"\n\n{source}" + (f" {note}" if note else "") + "\n")
    if out or not table.command:
        return "\n".join(out) or NOT_MEASURED
    return checkpoint_tables.not_run(table.needs[0], table.command)


def filled(text: str, page: str, machines: dict[str, dict[str, Any]]) -> str:
    """A page with its tables made anew.

    Raises:
        ValueError: the page asks for a table that there is not.
    """

    def block(match: re.Match[str]) -> str:
        if match[2] not in TABLES:
            raise ValueError(f"{page}: there is no table {match[2]!r}: expected one of {', '.join(TABLES)}")
        return match[1] + markdown(TABLES[match[2]], machines) + match[4]

    return BLOCK.sub(block, text)


def main(root: Path = REPOSITORY) -> int:
    """Write, or with --check compare; 1 when a page is out of date."""
    check = "--check" in sys.argv[1:]
    machines = read(root / "results")
    stale = []
    for page in sorted(root.rglob("*.md")):
        name = page.relative_to(root)
        if any(part.startswith(".") for part in name.parts):
            continue
        text = page.read_text()
        made = filled(text, name.as_posix(), machines)
        if made != text:
            stale.append(name)
            if not check:
                page.write_text(made)
    for name in stale:
        print(f"{'out of date' if check else 'written'}: {name}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
