"""Day 2's solution by itself: bit for bit over lengths and launch shapes; what its page says."""

from __future__ import annotations

import re

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import emulator
from engine import device
from grader import compare, oracles
from grader.curriculum import find
from tests import lessons

DAY = find("day02")
LESSON = lessons.load(DAY)
SPEC = (DAY.lesson / "README.md").read_text()
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOAT32 = np.dtype(np.float32)


def numbers(seed: int, n: int, spare: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    src = rng.integers(0, 2**16, n, dtype=np.uint16).view(BFLOAT16)
    return src, rng.integers(0, 2**32, n + spare, dtype=np.uint32).view(np.float32)


def assert_right(src: np.ndarray, dst: np.ndarray) -> None:
    on_device = device.to_device(src), device.to_device(dst)
    assert LESSON.widen(*on_device) is None
    assert device.to_host(on_device[0]).tobytes() == src.tobytes()
    result = compare.exact(device.to_host(on_device[1]), oracles.widen(src, dst))
    assert result.right, (result.problem, result.rows)


@lessons.randomly(60)
@given(n=st.integers(0, 2000), spare=st.integers(0, 300), seed=st.integers(0, 2**32 - 1))
def test_right_for_any_length(on, n, spare, seed):
    assert_right(*numbers(seed, n, spare))


@pytest.mark.parametrize("threads", [1, 32, 100, 1024])
def test_right_for_any_block(on, threads, monkeypatch):
    monkeypatch.setattr(LESSON, "THREADS", threads)
    assert_right(*numbers(threads, 3001, 40))


def test_oracle_is_what_ml_dtypes_says():
    src = np.arange(2**16, dtype=np.uint16).view(BFLOAT16)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(oracles.widen(src, np.zeros(2**16, np.float32)), src.astype(np.float32))


SRC, DST = numbers(5, 8, 0)
BAD = {
    "src float32": (DST, DST, "src is float32: expected bfloat16"),
    "dst bfloat16": (SRC, SRC, "dst is bfloat16: expected float32"),
    "src a matrix": (SRC.reshape(2, 4), DST, r"src has shape \(2, 4\): expected \[n\]"),
    "dst too short": (SRC, DST[:7], r"dst has shape \(7,\): expected at least \[8\]"),
    "every second element": (SRC[::2], DST, r"src has strides \(4,\): expected a C-contiguous"),
    "too many elements": (lessons.huge(BFLOAT16, 2**31 - 255), DST, "expected at most 2147483392 elements"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused(on_cpu, name):
    src, dst, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        LESSON.widen(src, dst)


@pytest.mark.parametrize("n", [1, 31, 257, 1000])
def test_checker_finds_nothing(on_cpu, n):
    device.select("cpu", check=emulator.Checks(schedules=6))
    assert_right(*numbers(n, n, 0))


def test_six_bytes_an_element(on_cpu):
    costs = lessons.costs_of(assert_right, *numbers(1, 1024, 0))
    assert costs.global_bytes == 6 * 1024


# ---- the page ---------------------------------------------------------------------------------------------------------


def test_worked_example_of_the_index():
    found = {
        label: re.search(rf"^    {label} +((?:[\d-]+ +)+[\d-]+)", SPEC, re.MULTILINE)[1].split()
        for label in ("block", "thread", "element")
    }  # fmt: skip
    index = [4 * int(b) + int(t) for b, t in zip(found["block"], found["thread"], strict=True)]
    assert len(index) == 4 * -(-10 // 4)
    assert found["element"] == [str(i) if i < 10 else "-" for i in index]


def test_worked_example_of_the_bits():
    (narrow, wide) = re.findall(r"^    (?:bfloat16|float32) +([01 ]+?) +(0x\w+)$", SPEC, re.MULTILINE)
    value = np.float32(0.15625)
    assert value == 1.25 * 2.0**-3
    for (digits, code), bits, width in (
        (narrow, value.astype(BFLOAT16).view(np.uint16), 16),
        (wide, value.view(np.uint32), 32),
    ):
        assert digits.replace(" ", "") == f"{int(bits):0{width}b}"
        assert int(code, 16) == int(bits)
    assert int(np.float32(1).astype(BFLOAT16).view(np.uint16)) == 16256 == 0x3F80
