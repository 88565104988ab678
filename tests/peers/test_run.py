"""One process, and a run of all of them with its record."""

from __future__ import annotations

import json
import sys

import pytest

from benchmarks.peers import __main__ as command
from benchmarks.peers import ours, registry, worker
from engine.benchmark import Machine
from tests.peers.made import PLAN, Jobs, prepared, read_record, run_all
from tests.test_repository import check_record


def run_worker(**job) -> list[tuple]:
    said: list[tuple] = []
    usual = {"task": "measure", "peers": ["ours-bfloat16"], "model": "nowhere", "plan": PLAN.as_json(), "device": "cpu",
             "seconds": 60, "tokens": {}}  # fmt: skip
    worker.run(usual | job, lambda *line: said.append(line))
    return said


def test_a_worker_says_why_it_cannot(folder, monkeypatch):
    assert run_worker() == [("ours-bfloat16", "whole", {"not_run": "python -m engine pull nowhere"})]
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "benchmarks.peers.compiled_loop", raising=False)
    missing = {"not_run": "torch is not installed: pip install -e '.[goldens]'"}
    assert run_worker(peers=["loop-int8"], model=f"{folder}/") == [("loop-int8", "whole", missing)]
    monkeypatch.setattr(ours, "prepare", lambda *_args, **_more: 1 / 0)
    failed = {"failed": "ZeroDivisionError: division by zero"}
    assert run_worker(model=f"{folder}/") == [("ours-bfloat16", "whole", failed)]


def test_a_worker_measures_a_model_of_a_folder(folder, monkeypatch):
    monkeypatch.setattr(ours, "prepare", lambda *_args, **_more: prepared(Machine({})))
    said = run_worker(model=f"{folder}/", peers=["ours-int8"])
    assert [(name, section) for name, section, _ in said] == [
        ("ours-int8", section) for section in ("about", "tokens", "decode", "first", "first")
    ]
    (machine,) = run_worker(task="machine", peers=[])
    assert machine[:2] == ("", "machine")
    assert "cores" in machine[2]


def test_a_run_of_all(tmp_path, monkeypatch, capsys):
    jobs = Jobs()
    assert run_all(jobs, tmp_path, monkeypatch=monkeypatch) == 0
    got = read_record(tmp_path)
    check_record(json.dumps(got))
    assert [peer["name"] for peer in got["peers"]] == [peer.name for peer in registry.PEERS]
    assert got["command"] == "python -m benchmarks.peers --prompt 9"
    order = [(job["task"], *job["peers"][:1]) for job, _ in jobs.jobs]
    assert order[:5] == [
        ("machine",), ("measure", "ours-bfloat16"), ("measure", "ours-int8"), ("measure", "ours-several"),
        ("check", "ours-bfloat16"),
    ]  # fmt: skip
    assert order[-1][0] == "check"
    last = jobs.jobs[-1][0]
    assert set(last["tokens"]) == set(last["peers"]) >= {"loop-bfloat16", "transformers-sdpa"}
    by_name = {peer["name"]: peer for peer in got["peers"]}
    assert by_name["ours-bfloat16"]["check"]["error"] == 2e-6
    assert [one["texts"] for one in by_name["loop-bfloat16"]["batches"]] == [4, 2]
    assert by_name["llama.cpp-bf16"]["not_run"] == "llama-bench is not on the PATH"
    printed = capsys.readouterr().out
    assert "ours-bfloat16: decode: 1,500 tokens/s" in printed or "ours-bfloat16: 1,500 tokens/s" in printed
    assert "llama.cpp-bf16: whole: NOT RUN: llama-bench" in printed


def test_a_peer_whose_process_ends_badly_keeps_its_figures_and_the_others_go_on(tmp_path, monkeypatch, capsys):
    jobs = Jobs({"loop-bfloat16": "its process ended with status -11"})
    assert run_all(jobs, tmp_path, monkeypatch=monkeypatch) == 1
    by_name = {peer["name"]: peer for peer in read_record(tmp_path)["peers"]}
    bad = by_name["loop-bfloat16"]
    assert bad["failed"] == "its process ended with status -11"
    assert bad["decode"]["tokens_per_s"] == 1470
    assert bad["first"] == []
    assert by_name["transformers-sdpa"]["decode"]["tokens_per_s"] > 0
    assert "FAILED: loop-bfloat16\n" in capsys.readouterr().out


def test_nothing_begins_when_the_budget_is_spent(tmp_path, monkeypatch):
    jobs = Jobs(takes=50.0)
    assert run_all(jobs, tmp_path, "--budget", "285", "--limit", "100", monkeypatch=monkeypatch) == 0
    peers = read_record(tmp_path)["peers"]
    assert len(jobs.jobs) == 5  # the machine, ours, and their check
    assert {peer["not_run"] for peer in peers[3:]} == {"the run's 285 s were spent"}
    for _job, seconds in jobs.jobs:
        assert seconds <= 160
    softs = [job["seconds"] for job, _ in jobs.jobs]
    assert softs == [100, 100, 100, 100, 65]
    assert [seconds for _, seconds in jobs.jobs] == [160, 160, 160, 135, 85]


def test_a_peer_that_is_ended_with_the_budget_has_not_failed(tmp_path, monkeypatch, capsys):
    jobs = Jobs({"loop-bfloat16": "it was ended after 49 s"}, takes=50.0)
    assert run_all(jobs, tmp_path, "--budget", "299", monkeypatch=monkeypatch) == 0
    ended = next(peer for peer in read_record(tmp_path)["peers"] if peer["name"] == "loop-bfloat16")
    assert "failed" not in ended
    assert ended["not_run"] == "the run's 299 s were spent: it was ended after 49 s"
    assert ended["decode"]["tokens_per_s"] == 1470  # was known by then
    assert f"loop-bfloat16: NOT RUN: {ended['not_run']}\n" in capsys.readouterr().out


def test_a_peer_that_crashes_as_the_budget_ends_has_failed(tmp_path, monkeypatch):
    jobs = Jobs({"loop-bfloat16": "its process ended with status -11"}, takes=50.0)
    assert run_all(jobs, tmp_path, "--budget", "299", monkeypatch=monkeypatch) == 1
    crashed = next(peer for peer in read_record(tmp_path)["peers"] if peer["name"] == "loop-bfloat16")
    assert crashed["failed"] == "its process ended with status -11"


def test_some_peers_alone_do_not_replace_the_record(tmp_path, monkeypatch):
    assert run_all(Jobs(), tmp_path, monkeypatch=monkeypatch) == 0
    before = (tmp_path / "nvidia-x1" / "peers.json").read_text()
    assert run_all(Jobs(), tmp_path, "--only", "ours-int8", "loop-int8", monkeypatch=monkeypatch) == 0
    assert (tmp_path / "nvidia-x1" / "peers.json").read_text() == before
    assert [peer["name"] for peer in read_record(tmp_path, "peers-only")["peers"]] == ["ours-int8", "loop-int8"]


def test_without_a_gpu_nothing_is_run(tmp_path, monkeypatch, capsys):
    assert run_all(Jobs(gpu=False), tmp_path, monkeypatch=monkeypatch) == 4
    assert capsys.readouterr().err == "NOT RUN: no GPU answers\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [["--rehearse"], ["--tokens", "1"], ["--batches", "0,1"], ["--only", "me"]])
def test_a_wrong_command_line_is_refused(wrong):
    with pytest.raises(SystemExit):
        command.parse(wrong)


def test_a_rehearsal_runs_all_of_it_on_the_cpu(folder):
    """In processes, as on a GPU; the record says what its times are worth."""
    out = folder / "out"
    arguments = ["--rehearse", "--model", f"{folder}/", "--only", "ours-bfloat16", "llama.cpp-bf16", "--prompt", "5"]
    arguments += ["--tokens", "4", "--batches", "1", "--ttft", "3", "--seconds", "0.1", "--out", str(out)]
    assert command.main(arguments) == 0
    (path,) = out.glob("*/*.json")
    got = json.loads(path.read_text())
    assert "these times mean nothing" in got["rehearsal"]
    mine, theirs = got["peers"]
    assert len(mine["tokens"]) == 4
    assert [one["prompt_tokens"] for one in mine["first"]] == [3]
    assert "equal" in mine["check"] or "torch is not installed" in mine["check"]["not_run"]
    assert "not_run" in theirs
