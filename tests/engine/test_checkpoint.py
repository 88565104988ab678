"""`python -m engine checkpoint`: driven as from a terminal, and the table of kernels."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from engine import records
from engine.checkpoint import Notes
from engine.checkpoint_report import HEAD, kernel_rows, kernel_table
from grader.checks import day25
from grader.curriculum import REPOSITORY


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "engine", "checkpoint", *arguments], cwd=REPOSITORY, capture_output=True, text=True,
        timeout=120, check=False, env={**os.environ, "WARP60_DEVICE": "cpu"},
    )  # fmt: skip


def kernel(name: str, launches: int, seconds: float, lost: float) -> dict[str, object]:
    return {
        "name": name, "launches": launches, "bytes": 1000, "operations": 1000, "floor_s": seconds / 2, "lost_s": lost,
        **day25.timed(0.9 * seconds, seconds, 1.1 * seconds),
    }  # fmt: skip


STEP = {
    "command": "python -m engine roofline m --json", "date": "2026-01-31", "machine": day25.GPU, "model": "m", "tokens": 1,
    "length": 256, "ceilings": {"read": {}}, "others": {},
    "kernels": [
        kernel("embedding", 1, 0.002, 0.1), kernel("norm", 10, 0.001, 0.3), kernel("q_proj", 2, 0.03, 0.2),
        kernel("lm_head", 1, 0.028, 0.05), {"name": "argmax", "launches": 1, "not_run": "never launched in a pass"},
    ],
}  # fmt: skip


def test_the_worst_kernels_the_rest_and_the_pass():
    notes = Notes()
    rows = kernel_rows(STEP, 2, notes)
    assert [row[0] for row in rows] == ["norm", "q_proj", "the rest (2)", "the pass", "argmax"]
    assert [row[1] for row in rows] == ["10 ± 1", "60 ± 6", "30 ± 3", "100 ± 10", "NOT RUN (1)"]
    assert [row[2] for row in rows] == ["10 ± 2", "60 ± 10", "30 ± 6", "100", "NOT RUN (1)"]
    assert [row[3] for row in rows] == ["50 ± 5", "50 ± 5", "50 ± 5", "50 ± 5", "NOT RUN (1)"]
    assert notes.lines() == ["NOT RUN: (1) never launched in a pass"]


def test_without_ceilings_the_longest_come_first():
    step = {**STEP, "ceilings": None, "why_no_ceilings": "no GPU"}
    notes = Notes()
    rows = kernel_rows(step, 4, notes)
    assert [row[0] for row in rows] == ["q_proj", "lm_head", "norm", "embedding", "the pass", "argmax"]
    assert {row[3] for row in rows[:-1]} == {"NOT RUN (1)"}
    assert notes.lines()[0].startswith("NOT RUN: (1) no GPU; (2)")


def test_what_the_roofline_does_not_know_is_part_of_the_pass():
    step = {**STEP, "others": {"mine": day25.timed(0.09, 0.1, 0.11)}}
    rows = kernel_rows(step, 9, Notes())
    assert [row[0] for row in rows[-3:]] == ["unknown", "the pass", "argmax"]
    assert rows[-3] == ["unknown", "100 ± 10", "50 ± 10", "NOT RUN (1)"]
    assert rows[-2][1] == "200 ± 20"
    assert rows[-2][3] == "25 ± 3"


def test_the_page_of_kernels():
    page = kernel_table(STEP, 2)
    assert page.startswith("**NVIDIA X1**: m, a decode step, token 256.\n\n| kernel")
    assert all(heading in page for heading in HEAD)
    assert page.endswith("- `python -m engine roofline m --json`, 2026-01-31\n")
    assert "a prompt of 64 tokens" in kernel_table({**STEP, "tokens": 64})
    with pytest.raises(ValueError, match="roofline: kernels is None"):
        kernel_table({name: value for name, value in STEP.items() if name != "kernels"})
    broken = {**STEP, "kernels": [{**STEP["kernels"][0], "median_s": float("nan")}]}
    with pytest.raises(ValueError, match=r"kernels\[0\]\.median_s is nan"):
        kernel_table(broken)


# ---- the command ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(3)
    for name in ("loop", "mine", "aa"):
        (tmp_path / f"{name}.json").write_text(json.dumps(day25.record(rng)))
    (tmp_path / "step.json").write_text(json.dumps(STEP))
    return tmp_path


def test_the_first_is_the_baseline(files):
    loop, mine, step = (str(files / f"{name}.json") for name in ("loop", "mine", "step"))
    done = run(loop, mine, "--kernels", step)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert [line.split("|")[2].strip() for line in lines[2:4]] == ["loop", "mine"]
    assert "| the pass" in done.stdout
    assert run(mine, loop, "--baseline", "loop", "--kernels", step).stdout == done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("loop.json", "other/loop.json"), "there are two on a CPU, 2 cores: expected one"),
        (("loop.json", "--baseline", "x"), "baseline is 'x': expected one of loop"),
        (("nan.json",), "nan.json: expected a record, in JSON: NaN is no number"),
        (("list.json",), "list.json: expected a record, a JSON object"),
        (("nowhere.json",), "nowhere.json"),
        (("step.json",), "step: rows is None: expected a list"),
    ],
)
def test_what_is_refused_is_said_in_one_line(files, arguments, words):
    (files / "other").mkdir()
    (files / "other" / "loop.json").write_text((files / "mine.json").read_text())
    (files / "nan.json").write_text('{"x": NaN}')
    (files / "list.json").write_text("[1]")
    done = run(*(str(files / a) if a.endswith(".json") else a for a in arguments))
    assert (done.returncode, done.stderr.count("\n"), done.stdout) == (1, 1, "")
    assert words in done.stderr


def test_a_record_comes_back_as_it_was_written(tmp_path):
    (tmp_path / "r.json").write_text(json.dumps(STEP))
    assert records.read(tmp_path / "r.json") == STEP
