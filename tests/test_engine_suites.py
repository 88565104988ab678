"""The suites of whole engines without a GPU and without torch: machines of known cost, and tiny models in the emulator."""

from __future__ import annotations

import json
import sys
import types

import numpy as np
import pytest

from benchmarks import models, tables
from benchmarks.suites import baseline, greedy
from engine import bench_report, config, device, model
from engine.benchmark import Machine, Run, summary
from grader import budget, llama
from grader.goldens import tiny
from tests.test_repository import check_record

MACHINE = {"gpu": "NVIDIA X1", "cpu": "c", "cores": 2, "python": "3.12"}
HEAD = {"command": "python benchmarks/gpu.py", "date": "2026-01-31", "machine": MACHINE}
CONFIG = config.parse(tiny.QWEN3)
CEILINGS = {"ceilings": {"read": {"bytes_per_s": 1e9}}}


@pytest.fixture
def peers(on_cpu):
    """Transformers, as far as the suites themselves ask for it: one model is there, the other is not."""
    torch = types.ModuleType("torch")
    torch.cuda = types.SimpleNamespace(empty_cache=lambda: None)
    on_cpu.setitem(sys.modules, "torch", torch)
    on_cpu.setattr(models, "why_no_peer", lambda: None)
    on_cpu.setattr(models, "versions", lambda: {"torch": "2", "transformers": "5", "seed": 1})
    on_cpu.setattr(models, "exact_float32", lambda: None)

    def in_transformers():
        settings = types.SimpleNamespace(eos_token_id=3, pad_token_id=None)
        sizes = types.SimpleNamespace(vocab_size=CONFIG.vocab_size)
        yield "a model", types.SimpleNamespace(config=sizes, generation_config=settings, float=lambda: None)
        yield models.REAL, "python -m engine pull it"

    on_cpu.setattr(models, "in_transformers", in_transformers)
    return on_cpu


@pytest.mark.parametrize("suite", [baseline, greedy])
def test_without_transformers_nothing_is_run(suite, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert suite.run({}) == {"not_run": "torch is not installed: pip install -e '.[goldens]'"}


# ---- the baseline --------------------------------------------------------------------------------------------------------


def streaming(name: str, **plan) -> baseline.Contender:
    machine = Machine(plan)
    return baseline.Contender(name, lambda: machine.go_on, machine.instruments(), cache_share=1.0)


def whole(name: str, missing: int = 0, **plan) -> baseline.Contender:
    machine = Machine(plan)

    def answer(ids, tokens):
        return list(machine.go_on(ids, tokens))[missing:]

    return baseline.Contender(name, lambda: answer, machine.instruments(), whole=True)


def fails() -> None:
    raise RuntimeError("no compiler\nand more")


@pytest.fixture
def measured(peers):
    """The suite on these contenders."""
    peers.setattr(baseline, "tidy", lambda: None)
    peers.setattr(baseline, "PROMPT", 4)
    peers.setattr(baseline, "TOKENS", 5)
    peers.setattr(baseline, "LENGTHS", (8,))
    peers.setattr(baseline, "TOKENS_AFTER", 3)
    ours = bench_report.Subject(None, "plain", CONFIG, 1000)

    def run(*everybody, context=CEILINGS):
        peers.setattr(baseline, "contenders", lambda _peer: (ours, list(everybody)))
        return baseline.run(context)

    return run


def test_everybody_is_measured_on_the_same_prompts(measured):
    """Ours takes 1 ms for a token of the prompt and 5 ms for a step, theirs 2 and 3 ms."""
    sdpa = whole(baseline.SDPA, prefill=2000, step=3000)
    broken = baseline.Contender("broken", fails, sdpa.read)
    slow = streaming("slow", steps=[1, 9], prompts=[40_000])
    record = measured(streaming(baseline.OURS), sdpa, broken, slow, whole("short", missing=1))
    check_record(json.dumps({**HEAD, **record}))
    rows = {(row["contender"], row["prompt_tokens"]): row for row in record["rows"] if "contender" in row}
    assert set(rows) == {
        (baseline.OURS, 4), (baseline.SDPA, 4), ("broken", 4), ("slow", 4), ("short", 4), (baseline.OURS, 8), (baseline.SDPA, 8)
    }  # fmt: skip
    ours, theirs = rows[baseline.OURS, 4], rows[baseline.SDPA, 4]
    assert (ours["first"]["median_s"], ours["token"]["median_s"]) == pytest.approx((4e-3, 5e-3))
    assert (theirs["first"]["median_s"], theirs["token"]["median_s"]) == pytest.approx((8e-3, 3e-3))
    assert theirs["tokens_per_s"] == pytest.approx(1000 / 3)
    assert (ours["tokens"], ours["same_tokens"], theirs["same_tokens"]) == (5, 5, 5)
    assert ours["steady"]
    assert theirs["steady"]
    cache = ours["bytes_per_token"] - 1000
    assert theirs["bytes_per_token"] == 1000 + cache / 2
    assert ours["share_of_read"] == pytest.approx(ours["bytes_per_token"] * 200 / 1e9)
    assert rows["broken", 4]["failed"] == "RuntimeError: no compiler"
    assert rows["slow", 4]["failed"] == "RuntimeError: 1 runs in 12 s: expected 6"
    assert rows["short", 4]["failed"] == "RuntimeError: 4 tokens came: expected 5"
    assert record["rows"][-1] == {"model": models.REAL, "not_run": "python -m engine pull it"}
    assert "failed" not in record
    text = tables.markdown(tables.TABLES["baseline"], {"x1": {"baseline": {**HEAD, **record}}})
    assert f"| a model | {baseline.OURS} | 4 ms ± 0.0 % | 200 ± 0.0 % |" in text
    assert "| a model | broken | FAILED: RuntimeError: no compiler |" in text
    assert f"| {models.REAL} | NOT RUN: python -m engine pull it |" in text
    text = tables.markdown(tables.TABLES["baseline-lengths"], {"x1": {"baseline": {**HEAD, **record}}})
    assert f"| a model | 8 | {baseline.SDPA} | 16 ms ± 0.0 % |" in text


def test_when_our_engine_fails_the_suite_has_failed(measured):
    record = measured(
        baseline.Contender(baseline.OURS, fails, Machine({}).instruments()), whole(baseline.SDPA), context={}
    )
    assert record["failed"] == "RuntimeError: no compiler"
    assert "tokens_per_s" in record["rows"][1]
    assert "share_of_read" not in record["rows"][1]


def test_what_would_begin_too_late_is_not_run(measured, monkeypatch):
    monkeypatch.setattr(baseline, "DEADLINE_S", -1.0)
    record = measured(streaming(baseline.OURS), whole(baseline.SDPA))
    assert {row["not_run"] for row in record["rows"][:-1]} == {"the suite's -1 s were over"}


def test_all_tokens_must_take_longer_than_one():
    ones, wholes = [Run(1, 2.0, None, None)] * 6, [Run(1, 1.0, None, None)] * 6
    with pytest.raises(ValueError, match="no longer than one"):
        baseline.apart(ones, wholes, 5)


# ---- greedy texts --------------------------------------------------------------------------------------------------------


@pytest.fixture
def texts(peers):
    """The suite on a tiny model in the emulator, with the float64 oracle in the place of Transformers."""
    weights = tiny.weights("tiny-qwen3", 5)
    ours = model.assemble(CONFIG, {name: device.to_device(value) for name, value in weights.items()})

    def forced(_peer, ids, positions):
        every = {}
        llama.forward(tiny.QWEN3, weights, np.array(ids, np.int32), every, np.float64)
        return every["logits"][-positions:]

    peers.setattr(models, "in_engine", lambda _peer: ours)
    peers.setattr(greedy, "forced", forced)
    peers.setattr(greedy, "TOKENS", 6)
    peers.setattr(greedy, "LENGTHS", (1, 9))
    return peers


def test_every_text_is_compared(texts):
    record = greedy.run({})
    rows = [row for row in record["rows"] if "engine" in row]
    assert [(row["engine"], row["prompt_tokens"]) for row in rows] == [(e, n) for e in greedy.ENGINES for n in (1, 9)]
    assert all(row["equal"] + row["ties"] == row["tokens"] == 6 for row in rows), rows
    assert "failed" not in record
    text = tables.markdown(tables.TABLES["greedy"], {"x1": {"greedy": {**HEAD, **record}}})
    assert "| a model | day 21's loop | 2 | 12 | 12 | 0 | 0 |" in text
    assert f"| {models.REAL} |  | NOT RUN |" in text


def test_another_token_is_found(texts):
    texts.setattr(
        greedy, "writers", lambda _model: {"ours": lambda ids, n: list(range(n)), "other": lambda ids, n: [1] * (n - 1)}
    )
    record = greedy.run({})
    wrong = [row["wrong"] for row in record["rows"] if row.get("engine") == "ours"]
    assert min(wrong) >= 5  # of six, one may be right by chance
    assert record["failed"] == "2 texts were not written, the first: 5 tokens came: expected 6"


def test_an_engine_that_fails_keeps_nobody_from_writing(texts):
    def breaks(_ids, _tokens):
        raise RuntimeError("a fault")

    plain = greedy.writers(models.in_engine(None))["day 21's loop"]
    texts.setattr(greedy, "writers", lambda _model: {"broken": breaks, "plain": plain})
    record = greedy.run({})
    assert record["failed"] == "2 texts were not written, the first: RuntimeError: a fault"
    assert [row["equal"] for row in record["rows"] if row.get("engine") == "plain"] == [6, 6]


def logits(**changed: float) -> np.ndarray:
    """Of one place: token 2 is the likeliest, by 1."""
    row = np.random.default_rng(0).uniform(-5, 5, 1000)
    row[2], row[7] = 9.0, 8.0
    for token, value in changed.items():
        row[int(token.removeprefix("t"))] = value
    return row[None]


def test_ties_are_as_close_as_rounding_goes():
    allowed = budget.greedy_margin(float(np.linalg.norm(logits(t7=9.0))), 1000)
    counts = {"equal": 0, "ties": 0, "wrong": 0}

    def counted(token: int, rows: np.ndarray) -> dict[str, int]:
        found = greedy.compared([token], rows)
        return {name: found[name] for name in counts}

    assert counted(2, logits()) == counts | {"equal": 1}
    assert counted(7, logits(t7=9.0 - 0.9 * allowed)) == counts | {"ties": 1}
    assert counted(7, logits(t7=9.0 - 1.1 * allowed)) == counts | {"wrong": 1}
    assert counted(7, logits()) == counts | {"wrong": 1}
    for token in (2, 7):
        assert counted(token, logits(t5=np.nan)) == counts | {"wrong": 1}
    assert greedy.compared([7], logits())["first_wrong"] == {
        "step": 0, "token": 7, "expected": 2, "margins_allowed": pytest.approx(1 / allowed, rel=1e-2),
    }  # fmt: skip


def test_nothing_compared_is_no_pass():
    assert greedy.why_failed([{"model": "m", "not_run": "no"}]) == "no text was compared"


def test_the_table_of_bench():
    run = Run(33, 0.5, 0.01, 3 << 30)
    subject = bench_report.Subject(None, "fused", CONFIG, 1000)
    read = {"bytes_per_s": 4.5e12}
    rows = [
        bench_report.figures(bench_report.Row(16, summary([run] * 7)), subject, read, 3.6),
        {"prompt_tokens": 2048, "not_run": "why"},
    ]
    record = {"model": "m", "engine": "fused", "weights": "int8", "tokens": 33, "read": read, "price_per_hour": 3.6}
    text = tables.markdown(tables.TABLES["bench"], {"x1": {"bench": {**HEAD, **record, "rows": rows}}})
    assert "| 16 | 500 ms ± 0.0 % | 100 ± 0.0 % | 3.00 GiB | 7 | 0.0 % | 10 |" in text
    assert "| 2,048 | NOT RUN: why |" in text
    assert "m, fused steps, int8 weights, 33 tokens after each prompt." in text
    assert "4.50 TB/s" in text
    assert "$3.60 a GPU-hour" in text
    cpu = {**record, "read": None, "price_per_hour": None, "engine": "plain"}
    rows = [bench_report.figures(bench_report.Row(16, summary([run])), subject, None, None)]
    text = tables.markdown(tables.TABLES["bench"], {"cpu": {"bench": {**HEAD, **cpu, "rows": rows}}})
    assert "| 16 | 500 ms ± 0.0 % | 100 ± 0.0 % | 3.00 GiB | 1 * |" in text
    assert "The emulator on this CPU is measured" in text
