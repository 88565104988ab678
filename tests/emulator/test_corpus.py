"""Every planted fault is found, with its kind, line and array; no correct kernel is accused."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import emulator
from tests.emulator.loader import load_corpus

CORPUS = load_corpus()
FAULTY = [c for c in CORPUS if c.fault != "none"]
CORRECT = [c for c in CORPUS if c.fault == "none"]
SCHEDULES = 20


def launch(case, check):
    module = emulator.RawModule(path=str(case.path), enable_cooperative_groups=case.cooperative, check=check)
    kernel = module.get_function("k")
    args = case.make_arguments()
    before = copy.deepcopy(args)
    kernel(case.grid, case.block, args, shared_mem=case.shared_mem)
    return kernel, before, args


def test_the_corpus_is_large_enough():
    assert len(FAULTY) >= 40
    assert len([c for c in CORRECT if c.path.parent.name == "correct"]) >= 20
    assert {c.fault for c in FAULTY} == set(emulator.findings.KINDS)


@pytest.mark.parametrize("case", FAULTY, ids=lambda c: c.name)
def test_planted_fault_is_found(case):
    with pytest.raises(emulator.CheckError) as caught:
        launch(case, emulator.Checks(schedules=SCHEDULES, outputs=case.outputs))
    finding = caught.value.findings[0]
    assert finding.kind == case.fault, str(caught.value)
    if case.array:
        assert finding.array == case.array, str(caught.value)
    if case.fault_lines:
        named = {finding.line, finding.other_line} - {0}
        assert named, str(caught.value)
        assert named <= case.fault_lines, str(caught.value)
        assert finding.place.file == case.path.name
    assert finding.advice


@pytest.mark.parametrize("case", CORRECT, ids=lambda c: c.name)
def test_correct_kernel_is_not_accused(case):
    _, before, after = launch(case, emulator.Checks(schedules=SCHEDULES, outputs=case.outputs))
    assert case.right(before, after)


@pytest.mark.parametrize("case", CORRECT, ids=lambda c: c.name)
def test_correct_kernel_computes_right_at_full_speed(case):
    _, before, after = launch(case, False)
    assert case.right(before, after)


def test_arguments_survive_a_faulty_kernel():
    case = next(c for c in FAULTY if c.name == "bounds/write_past_end")
    module = emulator.RawModule(path=str(case.path), check=True)
    args = case.make_arguments()
    before = copy.deepcopy(args)
    with pytest.raises(emulator.CheckError):
        module.get_function("k")(case.grid, case.block, args)
    np.testing.assert_array_equal(args[0].view(np.uint8), before[0].view(np.uint8))
