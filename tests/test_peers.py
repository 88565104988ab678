"""Engines side by side without a GPU: machines of known cost for engines, made-up jobs for processes, the emulator for ours."""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks import peer_plot, peer_tables, record, tables, workers
from benchmarks.peers import __main__ as command
from benchmarks.peers import gguf_file, llama_cpp, measure, ours, registry, replay, worker
from benchmarks.peers.protocol import NotRun, Plan, Prepared
from engine import benchmark, config, device
from engine.benchmark import Instruments, Machine
from engine.model import Model, assemble, load
from grader.goldens import tiny
from tests.test_repository import check_record

WIDE = {"hidden_size": 96, "intermediate_size": 224}  # whole blocks of 32, as llama.cpp's 8 bits want
PLAN = Plan(prompt=9, tokens=12, batches=(1, 2, 4), ttft=(4, 16), compile_mode="")
VOCAB = 259


@pytest.fixture(autouse=True)
def started_as_the_command(monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(record.REPOSITORY / "benchmarks/peers/__main__.py"), "--prompt", "9"])


def make_model(**changed) -> Model:
    changed = {**WIDE, **changed}
    weights = {key: device.to_device(w) for key, w in tiny.weights("tiny-llama", **changed).items()}
    return assemble(config.parse({**tiny.LLAMA, **changed}), weights)


# ---- what is measured ----------------------------------------------------------------------------------------------------


def test_a_plan_travels_as_json():
    assert Plan.of_json(json.loads(json.dumps(PLAN.as_json()))) == PLAN
    assert PLAN.capacity == 21
    assert Plan().capacity == 2049


def test_everybody_gets_the_same_prompts_and_no_two_texts_are_alike():
    assert PLAN.ids(9, VOCAB) == PLAN.ids(9, VOCAB)
    prompts = PLAN.prompts(4, VOCAB)
    assert [len(ids) for ids in prompts] == [9] * 4
    assert len({tuple(ids) for ids in prompts}) == 4


def prepared(machine: Machine, together: Machine | None = None) -> Prepared:
    """Machines of known cost: one text, and several at once, of which a step takes as long as one text's."""
    other = together or machine
    return Prepared(
        machine.go_on, lambda prompts, tokens: ([0] * len(prompts) for _ in other.go_on(prompts[0], tokens)),
        machine.instruments(),
    )  # fmt: skip


def found(prepared: Prepared, measured=("decode", "first", "batches"), in_time=lambda: True) -> dict[str, list]:
    out: dict[str, list] = {}
    for name, value in measure.figures(prepared, PLAN, measured, VOCAB, in_time):
        out.setdefault(name, []).append(value)
    return out


def test_figures_of_a_machine_of_known_cost():
    got = found(prepared(Machine({"prefill": 100, "step": 2000})))
    assert got["tokens"] == [list(range(12))]
    (decode,) = got["decode"]
    assert decode["tokens_per_s"] == pytest.approx(500)
    assert (decode["prompt_tokens"], decode["tokens"], decode["steady"]) == (9, 12, True)
    assert decode["token"]["repeats"] >= 6
    firsts = {one["prompt_tokens"]: one["first"]["median_s"] for one in got["first"]}
    assert firsts == {4: pytest.approx(4e-4), 16: pytest.approx(16e-4)}
    rates = {one["texts"]: one["tokens_per_s"] for one in got["batches"]}
    assert rates == {2: pytest.approx(1000), 4: pytest.approx(2000)}
    assert list(rates) == [4, 2]  # the largest first
    check_record(json.dumps({"command": "", "date": "2026-01-31", "machine": {"cpu": "", "python": ""}, "all": got}))


def test_what_is_not_asked_for_is_not_measured():
    machine = Machine({})
    assert found(prepared(machine), ("first",)).keys() == {"first"}
    assert found(Prepared(go_on_all=prepared(machine).go_on_all, read=machine.instruments())).keys() == {"batches"}
    assert found(Prepared(machine.go_on, read=machine.instruments())).keys() == {"tokens", "decode", "first"}


def test_a_figure_that_fails_keeps_the_others():
    def too_long(ids, tokens):
        if len(ids) == 16:
            raise RuntimeError("out of memory\nand more")
        return machine.go_on(ids, tokens)

    machine = Machine({})
    short, long = found(Prepared(too_long, read=machine.instruments()))["first"]
    assert short["first"]["repeats"] >= 6
    assert long == {"prompt_tokens": 16, "failed": "RuntimeError: out of memory"}


def test_too_few_tokens_are_no_figure():
    machine = Machine({"comes": 5})
    (decode,) = found(Prepared(machine.go_on, read=machine.instruments()))["decode"]
    assert decode == {"prompt_tokens": 9, "failed": "ValueError: 5 tokens came: expected 12"}


def test_no_figure_begins_late_and_none_has_too_few_runs(monkeypatch):
    late = found(prepared(Machine({})), in_time=lambda: False)
    assert {one["not_run"] for one in late["first"] + late["batches"]} == {"the time for this peer was spent"}
    assert "tokens_per_s" in late["decode"][0]
    monkeypatch.setattr(measure, "LONGEST_S", 0.0)
    (decode,) = found(prepared(Machine({})))["decode"]
    assert decode["failed"] == "RuntimeError: 1 runs in 0 s: expected 6"


def test_a_call_is_replayed_at_the_moments_at_which_tokens_came():
    now = [0.0]
    played = replay.Replay(lambda: now[0])

    def go_on(_ids, tokens):
        def call(hand):
            now[0] += 1.0
            for number in range(tokens):
                hand([number])
                now[0] += 0.25

        return replay.single(played.play(call))

    read = Instruments(played.clock, lambda: None, lambda: None, lambda: None)
    run = benchmark.timed(go_on, [1, 2], 5, read)
    assert (run.tokens, run.first_s, run.token_s) == (5, 1.0, 0.25)
    assert list(go_on([1], 3)) == [0, 1, 2]
    assert played.clock() == now[0]  # nothing is left behind, read or not
    begun = go_on([1], 3)
    next(begun)
    begun.close()
    assert played.clock() == now[0]


# ---- peers -----------------------------------------------------------------------------------------------------------------


def test_who_is_measured():
    names = [peer.name for peer in registry.PEERS]
    assert len(set(names)) == len(names)
    assert [peer.module for peer in registry.PEERS[: len(registry.OURS)]] == ["ours"] * len(registry.OURS)
    for peer in registry.PEERS:
        assert set(peer.measured) <= {"decode", "first", "batches"}
        assert peer.weights in peer_tables.KINDS
        text = (Path(measure.__file__).parent / f"{peer.module}.py").read_text()
        assert "\ndef prepare(" in text or "\ndef figures(" in text
        assert all(f"{option}: " in text for option in peer.options)


def test_ours_are_the_calls_that_generate_writes_with(on_cpu):
    model = make_model()
    for weights, smaller in (("bfloat16", 1), ("int8", 1.8)):
        one = ours.prepare(model, PLAN, weights)
        assert len(list(one.go_on(PLAN.ids(9, VOCAB), 5))) == 5
        assert (
            one.about["weight_bytes"] < 2 * sum(w.size for layer in model.layers for w in layer.values()) * 2 / smaller
        )
    assert one.read.peak_bytes() is None


def test_engines_for_several_texts_are_made_for_their_number(on_cpu):
    made = []

    class BatchEngine:
        def __init__(self, _model, texts, capacity):
            made.append((texts, capacity))
            self.texts = texts

        def generate_batch(self, prompts, max_tokens):
            yield from ([7] * len(prompts) for _ in range(max_tokens))

    on_cpu.setattr(ours, "BatchEngine", BatchEngine)
    go_on = ours.prepare(make_model(), PLAN, several=True).go_on_all
    for texts in (2, 2, 4):
        assert list(go_on([[1]] * texts, 3)) == [[7] * texts] * 3
    assert made == [(2, 21), (4, 21)]


@pytest.mark.parametrize("rope", [None, {**tiny.LLAMA["rope_scaling"], "original_max_position_embeddings": 8192}])
@pytest.mark.parametrize("tied", [True, False])
def test_a_gguf_file_has_the_models_weights(on_cpu, tmp_path, tied, rope):
    model = make_model(tie_word_embeddings=tied, rope_scaling=rope)
    gguf_file.write(tmp_path / "m.gguf", model, "bf16")
    again = load(tmp_path / "m.gguf")
    for field in (
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "head_dim",
        "rope_theta",
        "vocab_size",
        "rope_scaling",
    ):
        assert getattr(again.config, field) == getattr(model.config, field), field
    np.testing.assert_allclose(again.frequencies, model.frequencies, rtol=1e-6)
    for layer, expected in zip(again.layers, model.layers, strict=True):
        for name, weight in expected.items():
            np.testing.assert_array_equal(layer[name].astype(np.float32), weight.astype(np.float32), name)
    np.testing.assert_array_equal(again.head.astype(np.float32), model.head.astype(np.float32))
    assert (again.head is again.embedding) == tied


def test_a_gguf_file_of_8_bits(on_cpu, tmp_path):
    model = make_model(rope_scaling=None)
    gguf_file.write(tmp_path / "m.gguf", model, "q8_0")
    again = load(tmp_path / "m.gguf")
    got, expected = (m.layers[1]["mlp.down_proj.weight"].astype(np.float32) for m in (again, model))
    assert 1e-4 < np.linalg.norm(got - expected) / np.linalg.norm(expected) < 1e-2


BENCH = """#!{python}
import json, pathlib, sys
flags = dict(zip(sys.argv[1::2], sys.argv[2::2]))
assert pathlib.Path(flags["-m"]).stat().st_size > 1000, flags
prompt, tokens = int(flags["-p"]), int(flags["-n"])
assert (prompt == 0) == (flags.get("-d") == "9")
each = 1e6 * (prompt or 2 * tokens)
if prompt == 16: sys.exit("no room")
print(json.dumps([{{"n_prompt": prompt, "n_gen": tokens, "build_commit": "abc", "samples_ns": [each] * int(flags["-r"])}}]))
"""


def test_llama_cpp_times_itself(on_cpu, tmp_path):
    program = tmp_path / "llama-bench"
    program.write_text(BENCH.format(python=sys.executable))
    program.chmod(stat.S_IRWXU)
    on_cpu.setenv("PATH", str(tmp_path))
    model = make_model(rope_scaling=None)
    figures = llama_cpp.figures(model, PLAN, lambda: True, weights="bf16")
    assert next(figures) == ("about", {"llama_cpp": "abc", "timed_by": "llama-bench"})
    name, decode = next(figures)
    assert (name, decode["tokens_per_s"], decode["token"]["repeats"]) == ("decode", pytest.approx(500), 7)
    name, first = next(figures)
    assert (name, first["prompt_tokens"], first["first"]["median_s"]) == ("first", 4, pytest.approx(4e-3))
    with pytest.raises(RuntimeError, match="status 1 and said no room"):
        next(figures)
    on_cpu.setenv("PATH", str(tmp_path / "elsewhere"))
    with pytest.raises(NotRun, match=r"llama-bench.*is not on the PATH"):
        next(llama_cpp.figures(model, PLAN, lambda: True))


# ---- processes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "reason"),
    [("ends", None), ("fails", "ended with status 3: a last word"), ("crashes", "ended with status -6")],
)
def test_a_process_is_heard_however_it_ends(how, reason, capfd):
    heard: list[dict] = []
    why = workers.run("tests.worker_child", [how], 60, heard.append)
    assert heard == [{"said": how}, *([{"said": "all"}] if reason is None else [])]
    assert (why is None) if reason is None else reason in why
    assert ("a last word" in capfd.readouterr().out) == (reason is not None)


def test_a_process_that_hangs_is_ended_with_all_that_it_started(tmp_path):
    heard: list[dict] = []
    began = time.monotonic()
    assert workers.run("tests.worker_child", ["hangs"], 1.5, heard.append, tmp_path / "log") == "it was ended after 2 s"
    assert time.monotonic() - began < 30
    head, said = (tmp_path / "log").read_text().splitlines()
    assert head.startswith("== tests.worker_child hangs --lines ")
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
    command = [sys.executable, "-m", "tests.worker_child", "is left alone", "--lines", str(lines)]
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


def run_worker(**job) -> list[tuple]:
    said: list[tuple] = []
    usual = {"task": "measure", "peers": ["ours-bfloat16"], "model": "nowhere", "plan": PLAN.as_json(), "device": "cpu",
             "seconds": 60, "tokens": {}}  # fmt: skip
    worker.run(usual | job, lambda *line: said.append(line))
    return said


@pytest.fixture
def folder(on_cpu, tmp_path):
    """A tiny model's folder."""
    from safetensors.numpy import save_file

    on_cpu.setenv("WARP60_HOME", str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({**tiny.LLAMA, **WIDE}))
    save_file(tiny.weights("tiny-llama", **WIDE), tmp_path / "model.safetensors")
    return tmp_path


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


# ---- a run of all ----------------------------------------------------------------------------------------------------------


MACHINE = {"gpu": "NVIDIA X1", "cpu": "c", "cores": 2, "python": "3.12"}
TIME = {"median_s": 1e-3, "quartile1_s": 1e-3, "quartile3_s": 1e-3, "repeats": 9}


class Jobs:
    """Processes that end at once: what they say is made up, and so is the time that they take."""

    def __init__(self, failing: dict[str, str] | None = None, takes: float = 10.0, gpu: bool = True) -> None:
        self.failing, self.takes, self.gpu = failing or {}, takes, gpu
        self.now, self.jobs = 0.0, []

    def __call__(self, job, seconds, heard):
        self.jobs.append((job, seconds))
        self.now += self.takes
        if job["task"] == "machine":
            if not self.gpu:
                heard({"peer": "", "section": "whole", "value": {"not_run": "no GPU answers"}})
                return None
            heard({"peer": "", "section": "machine", "value": MACHINE})
            heard({"peer": "", "section": "read", "value": {"bytes_per_s": 4e12, **TIME}})
            return None
        for name in job["peers"]:
            if job["task"] == "check":
                heard({"peer": name, "section": "check", "value": self.check(name)})
                continue
            for section, value in self.figures(name):
                heard({"peer": name, "section": section, "value": value})
        return self.failing.get(job["peers"][0])

    @staticmethod
    def check(name):
        error = {"error": 2e-6, "worst_error": 3e-6} if name in ("ours-bfloat16", "ours-int8") else {}
        return {**error, "tokens": 12, "equal": 11, "ties": 1, "wrong": 0}

    def figures(self, name):
        number = [peer.name for peer in registry.PEERS].index(name)
        peer = registry.PEERS[number]
        if peer.module == "llama_cpp":
            yield "whole", {"not_run": "llama-bench is not on the PATH"}
            return
        state = {"clocks.sm": "1980", "clocks.mem": "3201", "temperature.gpu": "40", "power.draw": "300.00"}
        timed = {"first": TIME, "token": TIME, "steady": True, "gpu_before": state, "gpu_after": state}
        yield "about", {"weight_bytes": 2e9} if peer.module == "ours" else {}
        if "decode" in peer.measured:
            yield "tokens", list(range(12))
            yield "decode", {"prompt_tokens": 9, "tokens": 12, "tokens_per_s": 1500.0 - 10 * number, **timed}
        if name in self.failing:
            return
        for length in PLAN.ttft if "first" in peer.measured else ():
            yield "first", {"prompt_tokens": length, "tokens": 1, "tokens_per_s": None, **timed}
        for texts in PLAN.batches[:0:-1] if "batches" in peer.measured else ():
            yield "batches", {"texts": texts, "tokens": 12, "tokens_per_s": 900.0 * texts, **timed}


def run_all(jobs: Jobs, folder: Path, *more: str, monkeypatch) -> int:
    monkeypatch.setattr(command.Run, "left", lambda self: self.budget_s - jobs.now)
    arguments = ["--prompt", "9", "--tokens", "12", "--batches", "1,2,4", "--ttft", "4,16", "--out", str(folder), *more]
    return command.main(arguments, start=jobs)


def read_record(folder: Path, name: str = "peers") -> dict:
    return json.loads((folder / "nvidia-x1" / f"{name}.json").read_text())


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


# ---- tables and pictures -----------------------------------------------------------------------------------------------------


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    jobs = Jobs({"loop-int8": "its process ended with status -11"})
    run_all(jobs, tmp_path / "results", monkeypatch=monkeypatch)
    return read_record(tmp_path / "results")


def test_the_table_of_all(recorded):
    text = tables.markdown(tables.TABLES["peers"], {"nvidia-x1": {"peers": recorded}})
    head, _, *rows = text.splitlines()
    rows = [row for row in rows if row.startswith("|")]
    assert {row.count(" | ") for row in rows} == {head.count(" | ")}
    assert len(rows) == len(registry.PEERS)
    assert "first token of 4, ms | first token of 16, ms | 2 texts, tokens/s | 4 texts, tokens/s" in head
    assert (
        "| **this engine** | bfloat16 | 1,500 ± 0.0 % | 75 % | 1.00 ± 0.00 | 1.00 ± 0.00 |  |  | 2.0e-06 | 11 + 1 ties of 12 |"
        in rows
    )
    assert "| llama.cpp | bf16 | NOT RUN |  | NOT RUN | NOT RUN |" in text
    assert "llama.cpp, q8_0: NOT RUN, llama-bench is not on the PATH." in text
    assert "int8: FAILED, its process ended with status -11." in text
    assert "1,980 to 1,980 MHz, at 40 °C at most" in text


def test_the_bar(recorded):
    def table(**more) -> dict[str, list[str]]:
        text = tables.markdown(tables.TABLES["peers-bar"], {"nvidia-x1": {"peers": recorded, **more}})
        rows = [row.strip("| ").split(" | ") for row in text.splitlines() if row.startswith("|")]
        return {row[0]: row[1:] for row in rows[2:]}

    rows = table()
    required = {row["figure"]: row for row in json.loads(peer_tables.BAR.read_text())["rows"]}
    assert rows.keys() == required.keys()
    decode = rows["decode, bfloat16 weights, tokens/s"]
    assert decode == ["1,400", "1,650", "1,500", "required", f"1,470, {registry.LOOP}"]
    assert rows["decode, int8 weights, tokens/s"][2:4] == ["1,490", "no"]
    assert rows["decode, int8 weights, tokens/s"][4] == f"1,460, {registry.LOOP}"
    assert rows["first token of 2,048, ms"][2] == "NOT RUN"
    assert rows["relative error of the logits, int8 weights"][:4] == ["0.0001", "", "2e-06", "required"]
    small = "SmolLM2-135M, decode, bfloat16 weights, tokens/s"
    assert rows[small][2] == "NOT RUN"
    assert table(**{"peers-smollm2-135m": recorded})[small][2:4] == ["1,500", "required"]


@pytest.mark.parametrize(
    ("got", "at_most", "name"),
    [(9.0, False, "no"), (10.0, False, "required"), (20.0, False, "aim"), (21.0, True, "no"), (15.0, True, "aim")],
)
def test_what_is_reached(got, at_most, name):
    row = {"required": 20, "aim": 15} if at_most else {"required": 10, "aim": 20}
    assert peer_tables.reached(got, row, at_most) == name


def test_the_picture(recorded):
    svg = peer_plot.svg(recorded)
    assert svg == peer_plot.svg(recorded)
    words = peer_plot.described(recorded)
    assert f"<desc>{words}</desc>" in svg
    assert "this engine, bfloat16 1,500" in words
    assert "first token of 16, ms (shorter is better)" in words
    assert "tokens a second, 4 texts at once" in words
    assert "llama.cpp" not in words
    assert peer_plot.described({**recorded, "peers": []}) == ""


def test_the_picture_is_written_where_the_table_shows_it(recorded, tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("docs_plots", record.REPOSITORY / "docs" / "plots.py")
    plots = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plots)
    (tmp_path / "docs").mkdir()
    text = tables.markdown(tables.TABLES["peers"], {"nvidia-x1": {"peers": recorded}})
    monkeypatch.setattr(sys, "argv", ["docs/plots.py"])
    assert plots.main(tmp_path) == 0
    (path,) = (tmp_path / "docs").iterdir()
    assert f"(../../docs/{path.name})" in text
    monkeypatch.setattr(sys, "argv", ["docs/plots.py", "--check"])
    assert plots.main(tmp_path) == 0
    path.write_text(path.read_text().replace("1,500", "1,600"))
    assert plots.main(tmp_path) == 1


# ---- peers in torch --------------------------------------------------------------------------------------------------------


@pytest.mark.goldens
def test_peers_in_torch_write_what_ours_write(on_cpu):
    """In float32 arithmetic's place bfloat16: their texts agree up to ties, and none of theirs is broken."""
    compiled_loop, hugging_face, check = (
        importlib.import_module(f"benchmarks.peers.{name}") for name in ("compiled_loop", "hugging_face", "check")
    )
    model = make_model()
    ids, prompts = PLAN.ids(9, VOCAB), PLAN.prompts(3, VOCAB)
    exact = check.reference(model, "bfloat16")
    tokens: dict[str, list[int]] = {}
    for peer in registry.PEERS:
        module = {"compiled_loop": compiled_loop, "hugging_face": hugging_face}.get(peer.module)
        if module is None:
            continue
        one = module.prepare(model, PLAN, **peer.options)
        tokens[peer.name] = list(one.go_on(ids, 12))
        assert list(one.go_on(ids, 12)) == tokens[peer.name]
        assert len(list(one.go_on(PLAN.ids(4, VOCAB), 1))) == 1
        side_by_side = list(one.go_on_all(prompts, 12))
        assert [list(one.go_on(text, 12)) for text in prompts] == [
            [step[n] for step in side_by_side] for n in range(3)
        ], peer.name
        assert check.against(tokens[peer.name], ids, exact)["equal"] >= (5 if peer.weights == "int8" else 11)
    found = dict(check.figures(model, PLAN, registry.PEERS[:8], {"loop-bfloat16": tokens["loop-bfloat16"]}))
    for name in ("ours-bfloat16", "ours-int8"):
        assert found[name]["error"] < 1e-5
        assert found[name]["equal"] + found[name]["ties"] == 12
    assert found["ours-several"]["texts"] == 2
    assert found["loop-int8"] == {"not_run": "it has no text"}
    assert found["loop-bfloat16"]["equal"] >= 11


@pytest.mark.goldens
def test_the_plain_llama_is_transformers_model(on_cpu):
    """All in float32: the logits of a prompt, and of a step behind it."""
    import torch

    compiled_loop, hugging_face = (
        importlib.import_module(f"benchmarks.peers.{name}") for name in ("compiled_loop", "hugging_face")
    )
    model = make_model()
    theirs = hugging_face.build(
        hugging_face.config_of(model.config), compiled_loop.state(model), torch.float32, "eager"
    )
    ids = torch.tensor([PLAN.ids(9, VOCAB), PLAN.ids(9, VOCAB)[::-1]])
    expected = theirs(ids).logits
    for kind, most in (("bfloat16", 1e-6), ("int8", 5e-2)):
        plain = compiled_loop.Llama(model, kind, 2, 16).float()
        got = [plain.logits(ids[:, :8], torch.arange(8), prompt=True)]
        got.append(plain.logits(ids[:, 8:], torch.tensor([8]), prompt=False))
        for mine, right in zip(got, (expected[:, 7], expected[:, 8]), strict=True):
            error = float((mine - right).norm() / right.norm())
            assert error < most
            assert error > 1e-3 or kind == "bfloat16"
