"""Processes that measure: heard to the end, and ended with all that they started."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import record, workers


@pytest.mark.parametrize(
    ("how", "reason"),
    [("ends", None), ("fails", "ended with status 3: a last word"), ("crashes", "ended with status -6")],
)
def test_a_process_is_heard_however_it_ends(how, reason, capfd):
    heard: list[dict] = []
    why = workers.run("tests.peers.worker_child", [how], 60, heard.append)
    assert heard == [{"said": how}, *([{"said": "all"}] if reason is None else [])]
    assert (why is None) if reason is None else reason in why
    assert ("a last word" in capfd.readouterr().out) == (reason is not None)


def test_a_process_that_hangs_is_ended_with_all_that_it_started(tmp_path):
    heard: list[dict] = []
    began = time.monotonic()
    assert (
        workers.run("tests.peers.worker_child", ["hangs"], 4.0, heard.append, tmp_path / "log")
        == "it was ended after 4 s"
    )
    assert time.monotonic() - began < 30
    head, said = (tmp_path / "log").read_text().splitlines()
    assert head.startswith("== tests.peers.worker_child hangs --lines ")
    assert said == "a last word"
    first, child = heard
    assert first == {"said": "hangs"}
    check_ended(child["child"])


def check_ended(number: int) -> None:
    """That a process comes to its end; if it does not, it is ended."""
    for _ in range(200):
        state = Path(f"/proc/{number}/stat")
        if not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return
        time.sleep(0.05)
    os.kill(number, 9)
    raise AssertionError(f"process {number} is still running")


def test_a_process_whose_parent_was_ended_ends_too(tmp_path):
    lines = tmp_path / "lines"
    command = [sys.executable, "-m", "tests.peers.worker_child", "is left alone", "--lines", str(lines)]
    parent = f"import subprocess; subprocess.Popen({command!r}); import time; time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", parent], cwd=record.REPOSITORY, stdout=subprocess.DEVNULL) as started:
        deadline = time.monotonic() + 30
        while (not lines.exists() or "child" not in lines.read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
        started.kill()
    check_ended(json.loads(lines.read_text().splitlines()[1])["child"])


def test_lines_come_whole(tmp_path):
    heard: list[dict] = []
    rest = workers._read('{"a": 1}\n{"b"', heard.append)
    assert (heard, rest) == ([{"a": 1}], '{"b"')
    assert workers._read(rest + ": 2}\n", heard.append) == ""
    assert heard == [{"a": 1}, {"b": 2}]
    with pytest.raises(ValueError, match="JSON"):
        workers.say(tmp_path / "lines", {"a": math.nan})
