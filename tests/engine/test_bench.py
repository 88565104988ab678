"""`python -m engine bench`: driven as from a terminal, and its figures on a machine of known cost."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading

import pytest

from engine import bench_report, config, device, machine, model
from engine.bench_report import Plan, Row, Subject
from engine.benchmark import Machine, Run, summary
from engine.pieces import source_hash
from engine.weights import bytes_per_token
from grader.curriculum import REPOSITORY, find
from grader.goldens import tiny

CONFIG = config.parse(tiny.QWEN3)
WEIGHTS = 1000  # bytes
QUICK = ("--tokens", "3", "--repeats", "2")


def bench(*arguments: str, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "engine", "bench", *arguments], cwd=REPOSITORY,
        env={**os.environ, "WARP60_DEVICE": "cpu"}, **options,
    )  # fmt: skip


def test_a_table_with_what_did_not_run_and_why(folder, run):
    done = run("bench", str(folder), "--lengths", "9,4,9,300", *QUICK, "--price", "2.5")
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [row[0] for row in rows if row and row[0] in ("4", "9", "300")] == ["4", "9", "300", "300"]
    assert "300 tokens: NOT RUN: with 3 more it takes 302 places, and the model's context has 256" in done.stdout
    assert "the emulator on this CPU is measured" in done.stdout
    assert "at $2.50 an hour" in done.stdout
    assert "* not steady" in done.stdout
    assert done.stderr.splitlines() == ["measuring 4 tokens …", "measuring 9 tokens …"]


def test_json_alone_and_into_a_file_that_is_not_lost(folder, run, tmp_path):
    out = tmp_path / "bench.json"
    asked = ("bench", str(folder), "--lengths", "4,300", *QUICK, "--out", str(out))
    done = run(*asked, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"written: {out}\n"
    assert out.read_text() == done.stdout
    record = json.loads(done.stdout)
    assert record["command"].startswith("python -m engine bench tiny --lengths 4,300")
    assert str(tmp_path) not in done.stdout
    assert {"cpu", "cores", "python"} <= set(record["machine"])
    assert (record["model"], record["tokens"], record["interrupted"]) == ("tiny", 3, False)
    assert record["pieces"]["benchmark"] == "reference"
    assert (record["engine"], record["weights"]) == ("fused", "bfloat16")
    first, second = record["rows"]
    assert first["prompt_tokens"] == 4
    assert first["first"]["repeats"] == first["token"]["repeats"] == 2
    assert first["tokens_per_s"] == pytest.approx(1 / first["token"]["median_s"])
    assert first["peak_bytes"] > 1 << 20
    assert "share_of_read" not in first
    assert second["not_run"].startswith("with 3 more")
    out.write_text("mine")
    done = run(*asked)
    assert (done.returncode, done.stderr.count("\n"), out.read_text()) == (1, 1, "mine")
    assert "--force" in done.stderr
    assert run(*asked, "--force", "--plain").returncode == 0
    assert json.loads(out.read_text())["engine"] == "plain"
    assert json.loads(out.read_text())["rows"][0]["prompt_tokens"] == 4
    assert [file.name for file in tmp_path.iterdir()] == ["bench.json"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--lengths", "4,x"), "--lengths is '4,x'"),
        (("--lengths", "0"), "--lengths is '0'"),
        (("--lengths", ""), "--lengths is ''"),
        (("--seconds", "nan"), "--seconds is nan"),
        (("--seconds", "0"), "--seconds is 0"),
        (("--price", "-1"), "--price is -1"),
        (("--out", "/nowhere/at/all.json"), "there is no folder /nowhere/at"),
        (("--out", "."), "it is a folder"),
        (("--device", "tpu"), "unknown device 'tpu'"),
        (("--weights", "int8", "--plain"), "the plain loop takes bfloat16"),
    ],
)
def test_what_is_refused_is_said_in_one_line(folder, run, arguments, words):
    done = run("bench", str(folder), *arguments)
    assert (done.returncode, done.stderr.count("\n"), done.stdout) == (1, 1, ""), done.stderr
    assert words in done.stderr


def test_mine_names_the_pieces(folder, run, tmp_path):
    asked = ("bench", str(folder), "--lengths", "4", *QUICK, "--mine")
    done = run(*asked, WARP60_PROGRESS=str(tmp_path / "none.json"))
    assert done.returncode == 0, done.stderr
    assert "your pieces: none yet" in done.stderr
    day = find("day23")  # its stub, as if it had passed: the harness is the learner's too
    (tmp_path / "some.json").write_text(json.dumps({day.name: {"source_hash": source_hash(day.lesson, day.files)}}))
    done = run(*asked, WARP60_PROGRESS=str(tmp_path / "some.json"))
    assert "your pieces: benchmark\n" in done.stderr
    assert "NotImplementedError: day 23" in done.stderr


def test_ctrl_c_prints_what_is_there(folder, tmp_path):
    out = tmp_path / "bench.json"
    asked = ("--lengths", "4,8", "--tokens", "200", "--repeats", "1", "--out", str(out))
    process = bench(str(folder), *asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    watchdog = threading.Timer(100, process.kill)
    watchdog.start()
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("measuring 8"):
                process.send_signal(signal.SIGINT)
                break
        said, err = process.communicate()
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
    assert process.returncode == 130, err
    assert err.splitlines() == [f"{out} is not written", "interrupted"]
    assert [line.split()[0] for line in said.splitlines() if line.split()[:1] in (["4"], ["8"])] == ["4"]
    assert not out.exists()


def test_a_terminal_sees_how_it_goes(folder):
    theirs, ours = pty.openpty()
    process = bench(str(folder), "--lengths", "4", *QUICK, stdout=subprocess.PIPE, stderr=ours)
    os.close(ours)
    seen = b""
    try:
        while True:
            try:
                more = os.read(theirs, 4096)
            except OSError:  # how the end of a terminal looks
                break
            if not more:
                break
            seen += more
        table, _ = process.communicate(timeout=100)
    finally:
        process.kill()
        process.wait()
        os.close(theirs)
    assert process.returncode == 0, seen
    assert b"4 tokens: " in seen  # warming up, or the runs so far: whichever the screen had time for
    assert b"tokens/s" in table


def test_what_generate_writes_with_is_measured(on_cpu):
    """A model whose sizes the fused steps take: bfloat16, int8, and the plain loop, with the bytes that each reads."""
    fields = {**tiny.QWEN3, "hidden_size": 64, "intermediate_size": 64, "head_dim": 16, "num_hidden_layers": 1}
    changed = {name: fields[name] for name in ("hidden_size", "intermediate_size", "head_dim", "num_hidden_layers")}
    weights = {n: device.to_device(w) for n, w in tiny.weights("tiny-qwen3", **changed).items()}
    loaded = model.assemble(config.parse(fields), weights)
    found = {
        (kind, plain): bench_report.of_engine(loaded, 9, kind, plain)
        for kind, plain in (("bfloat16", False), ("int8", False), ("bfloat16", True))
    }
    assert [one.kind for one in found.values()] == ["fused", "fused", "plain"]
    fused, int8, plain = found.values()
    assert int8.weight_bytes < fused.weight_bytes < 1.1 * plain.weight_bytes
    assert plain.weight_bytes == bytes_per_token(loaded.config)
    assert list(fused.go_on([1, 2, 3], 4)) == list(plain.go_on([1, 2, 3], 4))


# ---- on a machine of known cost ------------------------------------------------------------------------------------------


def measured(plan: Plan, **costs) -> tuple[list[Row], list[tuple[int, int]]]:
    simulated, rows, told = Machine(costs), [], []
    bench_report.measure(
        subject(simulated.go_on), plan, simulated.instruments(), rows, lambda n, runs: told.append((n, len(runs)))
    )
    return rows, told


def subject(go_on=None) -> Subject:
    return Subject(go_on, "plain", CONFIG, WEIGHTS)


def test_every_length_is_measured_by_itself():
    rows, told = measured(Plan((2, 3), 4, 100, 60.0, 1), prefill=1000, step=500)
    assert [row.summary.first["median_s"] for row in rows] == pytest.approx([2e-3, 3e-3])
    assert [row.summary.tokens_per_s for row in rows] == pytest.approx([2000.0] * 2)
    assert told == [(length, runs) for length in (2, 3) for runs in range(7)]


def test_a_length_that_would_take_too_long_is_not_begun():
    """A run of 4 tokens takes 4 s and 2 · 0.5 s: one of 100 would take 101 s."""
    rows, _ = measured(Plan((4, 100), 3, 1, 60.0, 1), prefill=1_000_000, step=500_000)
    assert rows[0].summary is not None
    assert rows[1].not_run == "one run would take about 101 s or more, and --seconds is 60"


def test_a_length_that_fails_says_so_and_the_others_run():
    rows, _ = measured(Plan((4, 5), 3, 1, 60.0, 1), comes=0)
    assert [row.not_run for row in rows] == ["no tokens came: expected 1 to 3"] * 2


def test_runs_so_far_are_a_row_when_interrupted():
    simulated, rows = Machine({"steps": [1, 9, 2, 7, 3]}), []

    def tell(_length, runs):
        if len(runs) == 3:
            raise KeyboardInterrupt

    plan = Plan((4, 5), 3, 100, 60.0, 1)
    with pytest.raises(KeyboardInterrupt):
        bench_report.measure(subject(simulated.go_on), plan, simulated.instruments(), rows, tell)
    assert [(row.prompt, row.summary.first["repeats"]) for row in rows] == [(4, 3)]


def test_figures_beside_a_ceiling_and_a_price():
    """At 100 tokens a second; 33 tokens after 16: the steps read 16 + 33/2 rows of the cache on average."""
    row = Row(16, summary([Run(33, 0.5, 0.01, 1 << 30)] * 7))
    kv = 4 * 2 * CONFIG.num_hidden_layers * CONFIG.num_key_value_heads * CONFIG.head_dim
    moved = WEIGHTS + kv * 32.5
    found = bench_report.figures(row, subject(), {"bytes_per_s": 1e9}, 3.6)
    assert found["bytes_per_token"] == moved
    assert found["share_of_read"] == pytest.approx(100 * moved / 1e9)
    assert found["dollars_per_million_tokens"] == pytest.approx(3.6 / 3600 / 100 * 1e6)
    assert found["steady"]


def test_steps_read_what_is_in_the_cache():
    """The k-th step reads prompt + k rows: counted one by one."""
    row = bench_report.decode_bytes(subject(), 1, 2) - bench_report.decode_bytes(subject(), 0, 2)
    weights = bench_report.decode_bytes(subject(), 0, 2) - row
    counted = [weights + row * (10 + k) for k in range(1, 8)]
    assert bench_report.decode_bytes(subject(), 10, 8) == pytest.approx(sum(counted) / 7)


def test_the_table_of_a_gpu(capsys):
    rows = [Row(16, summary([Run(33, 0.5, 0.01, 3 << 30)] * 7)), Row(64, summary([Run(1, 120.0, None, None)]))]
    read = {"bytes_per_s": 4.5e12}
    record = {
        "model": "m", "device": "NVIDIA X1", "engine": "fused", "weights": "int8", "tokens": 33, "read": read,
        "price_per_hour": 3.6,
        "rows": [*(bench_report.figures(row, subject(), read, 3.6) for row in rows), {"prompt_tokens": 99, "not_run": "why"}],
    }  # fmt: skip
    bench_report.show(record)
    said = capsys.readouterr().out
    cells = {line.split()[0]: line.split() for line in said.splitlines() if line.split()}
    assert cells["16"][:10] == ["16", "500", "ms", "0.0", "%", "100", "0.0", "%", "3.00", "GiB"]
    assert cells["16"][-1] == "10"
    assert cells["64"] == ["64", "120", "s", "0.0", "%", "-", "-", "unknown", "1", "*", "-", "-"]
    assert "m on NVIDIA X1: fused steps, int8 weights, 33 tokens after each prompt" in said
    assert "99 tokens: NOT RUN: why" in said
    assert "4,500 GB/s, the read bandwidth measured now" in said
    assert "$3.60 a GPU-hour" in said


def test_a_record_names_no_folder():
    head = machine.head("python -m engine", ["bench", "/somewhere/of/mine/tiny", "--tokens", "3"], machine.host())
    assert head["command"] == "python -m engine bench tiny --tokens 3"


def test_what_nvidia_smi_says(monkeypatch):
    def said(text):
        done = subprocess.CompletedProcess([], 0, text)
        monkeypatch.setattr(machine.subprocess, "run", lambda *_, **__: done)
        return machine.nvidia_smi("clocks.sm", "power.limit")

    assert said("1980, 700.00\n1200, 300.00\n") == {"clocks.sm": "1980", "power.limit": "700.00"}
    assert said("") == {}

    def absent(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr(machine.subprocess, "run", absent)
    assert machine.nvidia_smi("clocks.sm") == {}
