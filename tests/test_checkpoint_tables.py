"""A write-up's tables: NOT RUN with a command where there is no record, and figures as soon as there is one."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import checkpoint_tables, tables
from grader.checks import day25
from tests.engine.test_checkpoint import STEP

NAMES = ("checkpoint-1", "checkpoint-1-kernels", "baseline", "greedy", "roofline")


@pytest.mark.parametrize("name", NAMES)
def test_without_a_record_there_is_the_command_that_makes_it(name):
    text = tables.filled(f"<!-- measured: begin {name} -->\n<!-- measured: end -->\n", "page", {"cpu": {}})
    assert "| NOT RUN: `python " in text
    assert "makes it |\n<!-- measured: end -->" in text


def test_records_that_come_replace_it():
    rng = np.random.default_rng(1)
    loop, fused = day25.record(rng, machine=day25.GPU), day25.record(rng)
    machines = {"x1": {"bench-plain": loop}, "cpu": {"bench": fused}}
    page = tables.markdown(tables.TABLES["checkpoint-1"], machines)
    assert page.count("**NVIDIA X1**") == page.count("**a CPU, 2 cores**") == 1
    assert f"`{checkpoint_tables.FUSED.command}` makes its record" in page
    assert f"`{checkpoint_tables.LOOP.command}` makes its record" in page
    machines["cpu"]["bench-plain"] = {**day25.record(rng), "model": "another"}
    page = tables.markdown(tables.TABLES["checkpoint-1"], machines)
    assert ": another, 8 tokens" in page


def test_steps_of_the_command_and_of_the_suite():
    entry = {"model": "m2", "passes": [STEP, {**STEP, "tokens": 512}]}
    suite = {key: STEP[key] for key in ("command", "date", "machine", "ceilings")} | {
        "models": [entry, {"not_run": "x"}]
    }
    page = tables.markdown(tables.TABLES["checkpoint-1-kernels"], {"cpu": {"step": STEP}, "x1": {"roofline": suite}})
    assert page.count("a decode step, token 256") == 2
    assert ": m2, a decode step" in page
    assert "prompt" not in page
