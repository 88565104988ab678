"""Tables of the decode step: what each version was expected to take and takes, and its kernels one by one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from benchmarks.peer_tables import NOT_RUN, one_of

PREDICTIONS = Path(__file__).with_name("predictions.yaml")
KERNELS = ("qkv", "attention", "output", "gate_up", "down", "head")
SWEEPS = ("tune", "tune-int8", "tune-smollm2-135m")


def decode_versions(machines: Mapping[str, Mapping[str, Any]]) -> str:
    """Every prediction in its order, beside the recorded run that it names."""
    predictions = yaml.safe_load(PREDICTIONS.read_text(encoding="utf-8"))
    head = [
        "model, weights",
        "version",
        "predicted",
        "expected, µs",
        "of it the floor",
        "measured, µs",
        "measured ÷ expected",
    ]
    rows = [head, ["---"] * len(head), *(_row(one, machines) for one in predictions)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def expected_us(prediction: Mapping[str, Any]) -> float:
    """The whole step: its floor, and what each kernel leaves exposed, as often as it is launched."""
    once = ("head", "next_token")
    exposed = prediction["exposed_us"].items()
    return prediction["floor_us"] + sum(us * (1 if name in once else prediction["layers"]) for name, us in exposed)


def _row(one: Mapping[str, Any], machines: Mapping[str, Mapping[str, Any]]) -> list[str]:
    expected = expected_us(one)
    cells = [f"{one['model']}, {one['weights']}", one["version"], str(one["date"]), f"{expected:.0f}"]
    cells.append(f"{100 * one['floor_us'] / expected:.0f} %")
    measured = _measured_us(one, machines)
    return [*cells, *([NOT_RUN, ""] if measured is None else [f"{measured:.0f}", f"{measured / expected:.2f}"])]


def _measured_us(one: Mapping[str, Any], machines: Mapping[str, Mapping[str, Any]]) -> float | None:
    """A step's time in the record that the prediction names; None without it."""
    record = machines.get(one["machine"], {}).get(one["record"])
    if record is None:
        return None
    if "stage" in one:  # of a sweep: its first candidate, which is the default, or its best
        found = [trial["median_s"] for trial in record["results"].get(one["stage"], []) if "median_s" in trial]
        return 1e6 * (found[0] if one["trial"] == "default" else min(found)) if found else None
    for peer in record["peers"]:
        decode = one_of(peer, "decode")
        if (
            peer["label"] == one["label"]
            and peer["weights"] == one["weights"]
            and decode
            and decode.get("tokens_per_s")
        ):
            return float(1e6 / decode["tokens_per_s"])
    return None


def decode_kernels(machines: Mapping[str, Mapping[str, Any]]) -> str:
    """Each kernel alone, as a sweep has found it fastest."""
    head = ["kernel", "model, weights", "rows × columns", "blocks × warps", "rows side by side", "ring", "µs", "TB/s"]
    sweeps = [(name, records[name]) for records in machines.values() for name in SWEEPS if name in records]
    if not sweeps:
        return f"{NOT_RUN}: `python benchmarks/tune.py` makes `results/<machine>/tune.json`\n"
    rows = [head, ["---"] * len(head)]
    rows += [
        _kernel_row(kernel, record, best)
        for kernel in KERNELS
        for _, record in sweeps
        if (best := _fastest(record, kernel)) is not None
    ]
    about = "; ".join(
        f"{record['machine']['gpu']}, {record['date']}, `{record['command']}` → `{name}.json`"
        for name, record in sweeps
    )
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return (
        f"{table}\n\n{about}. Each kernel alone in a graph, on more weights than the L2 cache holds; attention over "
        f"{sweeps[0][1]['context']} positions. Medians ± half the interquartile range.\n"
    )


def _fastest(record: Mapping[str, Any], kernel: str) -> Mapping[str, Any] | None:
    found = [trial for trial in record["results"].get(kernel, []) if "median_s" in trial]
    return min(found, key=lambda trial: float(trial["median_s"]), default=None)


def _kernel_row(kernel: str, record: Mapping[str, Any], best: Mapping[str, Any]) -> list[str]:
    spread_us = 1e6 * (best["quartile3_s"] - best["quartile1_s"]) / 2
    row = [
        f"`decode/{kernel}.cu`",
        f"{record['model']}, {record['weights']}",
        record["default"]["matrices"].get(kernel, ""),
    ]
    if "cut" in best:
        cut = best["cut"]
        row += [f"{cut['grid']} × {cut['warps']}", str(cut["span"]), f"{cut['depth']} deep"]
    else:
        row += [f"{best['splits']} parts", "", ""]
    row.append(f"{1e6 * best['median_s']:.1f} ± {spread_us:.1f}")
    return [*row, f"{best['bytes_per_s'] / 1e12:.2f}" if "bytes_per_s" in best else ""]
