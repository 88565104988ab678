"""What `benchmarks/tables.py` writes into pages: figures of the records, or that there are none."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml

from benchmarks import tables, version_tables

MACHINE = {"gpu": "NVIDIA X1", "cpu": "c", "cores": 2, "python": "3.12"}
TIME = {"median_s": 2e-5, "quartile1_s": 1.9e-5, "quartile3_s": 2.1e-5, "repeats": 30}
SHAPE = {"rows": 4096, "hidden": 2048, "dtype": "bfloat16", "share_of_copy": 0.9, "bytes_per_s": 3.6e12, **TIME}
HEAD = {"command": "python benchmarks/gpu.py", "date": "2026-01-31", "machine": MACHINE}
PAGE = "# Page\n\n<!-- measured: begin day07 -->\nold\n<!-- measured: end -->\nafter\n"


def records(folder: Path) -> None:
    (folder / "nvidia-x1").mkdir(parents=True)
    for name, figures in {
        "day07": {"shapes": [SHAPE, {**SHAPE, "rows": 1, "torch": {**TIME, "bytes_per_s": 3.2e12}}]},
        "ceilings": {"copy": {"bytes_per_s": 4.0e12, **TIME}},
    }.items():
        (folder / "nvidia-x1" / f"{name}.json").write_text(json.dumps({**HEAD, **figures}))


def test_table_is_made_of_the_record(tmp_path):
    records(tmp_path / "results")
    text = tables.filled(PAGE, "page", tables.read(tmp_path / "results"))
    assert "| 4,096 × 2,048 | bfloat16 | 20.0 ± 1.00 | 3,600 | 90 % | NOT RUN | NOT RUN |" in text
    assert "| 1 × 2,048 | bfloat16 | 20.0 ± 1.00 | 3,600 | 90 % | NOT RUN | 3,200 |" in text
    assert "NVIDIA X1, 2026-01-31, `python benchmarks/gpu.py` → `results/nvidia-x1/day07.json`" in text
    assert "4.00 TB/s" in text
    assert "old" not in text
    assert text.startswith("# Page\n")
    assert text.endswith("<!-- measured: end -->\nafter\n")
    assert tables.filled(text, "page", tables.read(tmp_path / "results")) == text


@pytest.mark.parametrize(
    ("day", "shape", "row"),
    [
        (
            "day02",
            {"elements": 1 << 20, "share_of_copy": 0.5},
            "| 1,048,576 | 20.0 ± 1.00 | 3,600 | 50 % | NOT RUN | 7 |",
        ),
        (
            "day05",
            {"tokens": 64, "vocabulary": 49152, "hidden": 576, "share_of_copy": 0.5},
            "| 64 | 49,152 × 576 | 20.0 ± 1.00 | 3,600 | 50 % | NOT RUN | 7 |",
        ),
        (
            "day06",
            {"function": "row_max", "rows": 64, "columns": 4096, "share_of_read": 0.5},
            "| `row_max` | 64 × 4,096 | 20.0 ± 1.00 | 3,600 | 50 % | NOT RUN | 7 |",
        ),
        (
            "day11",
            {"tokens": 4096, "heads": 32, "head_dim": 64, "share_of_copy": 0.5},
            "| 4,096 | 32 × 64 | 20.0 ± 1.00 | 3,600 | 50 % | NOT RUN | 7 |",
        ),
        (
            "day12",
            {"rows": 64, "columns": 4096, "share_of_copy": 0.5},
            "| 64 × 4,096 | 20.0 ± 1.00 | 3,600 | 50 % | NOT RUN | 7 |",
        ),
        (
            "day15",
            {"tokens": 64, "intermediate": 8192, "share_of_copy": 0.5},
            "| 64 × 8,192 | 20.0 ± 1.00 | 3,600 | 50 % | NOT RUN | 7 |",
        ),
        (
            "day18",
            {"rows": 64, "vocabulary": 128256, "share_of_read": 0.5},
            "| 64 × 128,256 | 20.0 ± 1.00 | 3,600 | 50 % | NOT RUN | 7 |",
        ),
    ],
)
def test_tables_of_bandwidth(day, shape, row):
    """A row for each shape that ran; a day without a record says so."""
    measured = {**shape, **TIME, "bytes_per_s": 3.6e12, "torch": {**TIME, "bytes_per_s": 7e9}}
    records = {
        day: {**HEAD, "shapes": [measured, {**shape, "not_run": "too large"}]},
        "ceilings": {"copy": {"bytes_per_s": 4e12}, "read": {"bytes_per_s": 4.5e12}},
    }
    text = tables.markdown(tables.TABLES[day], {"nvidia-x1": records})
    assert row in text
    assert "The read bandwidth, measured in the same run, is 4.50" in text or "The copy bandwidth" in text
    assert "NOT RUN: 1 shapes that do not fit" in text
    assert tables.markdown(tables.TABLES[day], {}) == tables.NOT_MEASURED


def test_check_tells_a_stale_page_and_changes_nothing(tmp_path, monkeypatch, capsys):
    records(tmp_path / "results")
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    monkeypatch.setattr(sys, "argv", ["tables.py", "--check"])
    assert tables.main(tmp_path) == 1
    assert page.read_text() == PAGE
    assert "out of date: page.md" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["tables.py"])
    assert tables.main(tmp_path) == 0
    assert page.read_text() != PAGE
    monkeypatch.setattr(sys, "argv", ["tables.py", "--check"])
    assert tables.main(tmp_path) == 0


def test_what_was_not_measured_says_so():
    assert "Not measured yet." in tables.filled(PAGE, "page", {})
    assert "Not measured yet." in tables.filled(
        PAGE, "page", {"nvidia-x1": {"day07": {}}}
    )  # no ceilings to compare with


def test_unknown_table_names_the_page():
    with pytest.raises(ValueError, match=r"page\.md: there is no table 'day99'"):
        tables.filled(PAGE.replace("day07", "day99"), "page.md", {})


def test_faults_found_are_counted_beside_the_sanitizer():
    ours = [
        {"name": "a", "fault": "data-race", "right": True}, {"name": "b", "fault": "data-race", "right": False},
        {"name": "c", "fault": "none", "right": True}, {"name": "d", "fault": "none", "right": False},
    ]  # fmt: skip
    theirs = {"a": {"found": [], "timed_out": ["racecheck"]}, "b": {"found": ["racecheck"], "timed_out": []}}
    machines = {
        "cpu": {"corpus": {**HEAD, "schedules": 20, "cases": ours}},
        "nvidia-x1": {
            "sanitizer": {**HEAD, "machine": {"gpu": "NVIDIA X1", "sanitizer": "2025.3.1.0"}, "cases": theirs}
        },
    }
    text = tables.markdown(tables.TABLES["validation"], machines)
    assert "| data-race | 1 of 2 | 1 of 2; 1 hung |" in text
    assert "| none (correct): false alarms | 1 of 2 | NOT RUN |" in text
    assert "synccheck of version 2025.3.1.0 on NVIDIA X1, " in text


def test_versions_are_beside_the_run_that_they_name():
    assert version_tables.expected_us({"floor_us": 100, "layers": 3, "exposed_us": {"qkv": 2, "head": 5}}) == 111
    predictions = yaml.safe_load(version_tables.PREDICTIONS.read_text())
    peer = {"label": "**this engine**", "weights": "bfloat16", "decode": {"tokens_per_s": 1000.0}}
    other = {"label": "somebody else", "weights": "bfloat16", "decode": {"tokens_per_s": 1.0}}
    trials = [{"median_s": 9e-4}, {"failed": "no room"}, {"median_s": 7e-4}, {"median_s": 8e-4}]
    records = {
        "peers-smollm2-135m": {"peers": [other, peer]},
        "tune-first": {"results": {"steps": trials}},
        "tune": {"results": {"steps": [], "persistent": trials[2:]}},
    }
    rows = version_tables.decode_versions({"nvidia-h200": records}).splitlines()[2:]
    for one, row in zip(predictions, rows, strict=True):
        measured = {
            ("tune-first", "steps", "default"): 900,
            ("tune-first", "steps", "best"): 700,
            ("tune", "persistent", "best"): 700,
            ("peers-smollm2-135m", None, None): 1000,
        }.get((one["record"], one.get("stage"), one.get("trial")))
        expected = version_tables.expected_us(one)
        beside = f"{measured} | {measured / expected:.2f} |" if measured else "NOT RUN |  |"
        assert row.endswith(f"| {expected:.0f} | {100 * one['floor_us'] / expected:.0f} % | {beside}")
    assert all("NOT RUN" in row for row in version_tables.decode_versions({}).splitlines()[2:])


def test_kernels_are_those_that_a_sweep_found_fastest():
    def trial(us, **more):
        return {"median_s": us * 1e-6, "quartile1_s": us * 1e-6, "quartile3_s": (us + 1) * 1e-6, **more}

    cut = {"grid": 132, "warps": 8, "span": 2, "depth": 6}
    down = [trial(9, cut={**cut, "grid": 1}), {"failed": "no room"}, trial(8, cut=cut, bytes_per_s=3.5e12)]
    sweep = {
        "model": "m", "weights": "int8", "context": 256, "date": "today", "command": "tune", "machine": {"gpu": "NVIDIA X1"},
        "default": {"matrices": {"down": "4 × 5"}},
        "results": {"down": down, "attention": [trial(7, splits=4)], "head": [{"failed": "no room"}], "steps": [trial(1)]},
    }  # fmt: skip
    got = version_tables.decode_kernels({"nvidia-x1": {"tune-int8": sweep}})
    assert got.splitlines()[2:4] == [
        "| `decode/attention.cu` | m, int8 |  | 4 parts |  |  | 7.0 ± 0.5 |  |",
        "| `decode/down.cu` | m, int8 | 4 × 5 | 132 × 8 | 2 | 6 deep | 8.0 ± 0.5 | 3.50 |",
    ]
    assert "head.cu" not in got, "it was not measured"
    assert version_tables.decode_kernels({}).startswith("NOT RUN")
