"""What is measured of an engine, on machines of known cost."""

from __future__ import annotations

import json

import pytest

from benchmarks.peers import measure, replay
from benchmarks.peers.protocol import Plan, Prepared
from engine import benchmark
from engine.benchmark import Instruments, Machine
from tests.peers.made import PLAN, VOCAB, prepared
from tests.test_repository import check_record


def test_a_plan_travels_as_json():
    assert Plan.of_json(json.loads(json.dumps(PLAN.as_json()))) == PLAN
    assert PLAN.capacity == 21
    assert Plan().capacity == 2049


def test_everybody_gets_the_same_prompts_and_no_two_texts_are_alike():
    assert PLAN.ids(9, VOCAB) == PLAN.ids(9, VOCAB)
    prompts = PLAN.prompts(4, VOCAB)
    assert [len(ids) for ids in prompts] == [9] * 4
    assert len({tuple(ids) for ids in prompts}) == 4


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
