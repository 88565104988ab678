"""Day 12's solution by itself: against float64, over shapes, launch shapes and special values; and what its page says."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import emulator
from engine import device
from grader import budget, compare, oracles
from grader.curriculum import find
from tests import lessons

DAY = find("day12")
LESSON = lessons.load(DAY)
FLOAT32 = np.dtype(np.float32)


def scores(seed: int, rows: int, n: int, spread: float = 3.0, masked: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, n)) * spread + 10 * rng.standard_normal((rows, 1))
    return np.where(rng.random((rows, n)) < masked, -np.inf, x).astype(np.float32)


def assert_right(x: np.ndarray) -> None:
    result = compare.compare(lessons.answer(LESSON.softmax, x), oracles.softmax(x), FLOAT32, budget.softmax(x))
    assert result.right, (result.problem, result.rows)


@lessons.randomly(60)
@given(
    rows=st.integers(0, 5),
    n=st.one_of(st.integers(1, 40), st.integers(1, 2100)),
    exponent=st.integers(-6, 37),
    masked=st.sampled_from([0.0, 0.5, 0.97, 1.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_right_for_any_shape_spread_and_mask(on, rows, n, exponent, masked, seed):
    assert_right(scores(seed, rows, n, 10.0**exponent, masked))


@pytest.mark.parametrize("threads", [32, 96, 1024])
@pytest.mark.parametrize("n", [1, 33, 1000, 2048])
def test_right_for_any_block(on, threads, n, monkeypatch):
    monkeypatch.setattr(LESSON, "THREADS", threads)
    assert_right(scores(threads, 3, n))


def test_weights_add_up_to_one(on):
    sums = lessons.answer(LESSON.softmax, scores(1, 50, 777, spread=20.0)).astype(np.float64).sum(axis=1)
    np.testing.assert_allclose(sums, 1.0, rtol=1e-5)


def test_rows_without_a_sum(on):
    x = np.full((5, 70), -np.inf, np.float32)
    x[1, 40], x[2, 3], x[3, 69] = np.nan, np.inf, -3e38
    out = lessons.answer(LESSON.softmax, x)
    assert (out[[0, 4]] == 0).all()
    assert np.isnan(out[[1, 2]]).all()
    assert out[3].tolist() == [0.0] * 69 + [1.0]


@pytest.mark.gpu
def test_rows_past_two_billion_elements(gpu_with):
    """The offset of a row passes 2^31: computed in int, it would wrap."""
    import cupy

    rows, n = 2**19 + 3, 4096
    gpu_with(3 * rows * n * 4)
    last = scores(2, 3, n)
    x = cupy.zeros((rows, n), np.float32)
    x[-3:] = cupy.asarray(last)
    out = LESSON.softmax(x)[-3:].get()
    result = compare.compare(out, oracles.softmax(last), FLOAT32, budget.softmax(last))
    assert result.right, (result.problem, result.rows)


def test_a_sum_in_bfloat16_breaks_the_budget():
    import ml_dtypes

    x = scores(3, 20, 500)
    powers = np.exp(x.astype(np.float64) - x.max(axis=1, keepdims=True))
    rounded = powers / powers.sum(axis=1, keepdims=True).astype(ml_dtypes.bfloat16).astype(np.float64)
    assert not compare.compare(rounded.astype(np.float32), oracles.softmax(x), FLOAT32, budget.softmax(x)).right


@pytest.mark.parametrize("n", [1, 33, 257, 1000])
def test_checker_finds_nothing(on_cpu, n):
    device.select("cpu", check=emulator.Checks(schedules=6, outputs=("out",)))
    assert_right(scores(n, 2, n, masked=0.3))


def test_worked_example(on):
    spec = (DAY.lesson / "README.md").read_text()

    def row(label: str) -> list[float]:
        found = re.search(rf"^    {label} +((?:(?:-?[\d/]+|-∞) +)*(?:-?[\d/]+|-∞))(?:   |$)", spec, re.MULTILINE)
        assert found, label
        parts = (part.replace("∞", "inf").split("/") for part in found[1].split())
        return [float(part[0]) / float(part[1]) if len(part) == 2 else float(part[0]) for part in parts]

    x = row("x")
    assert len(x) == 8
    assert row("each thread's max") == [max(x[t], x[t + 4]) for t in range(4)]
    assert row("block max") == [max(x)]
    assert row("x - max") == [v - max(x) for v in x]
    powers = row("exp")
    assert powers == [2 ** (v - max(x)) for v in x]
    assert row("each thread's sum") == [powers[t] + powers[t + 4] for t in range(4)]
    assert row("block sum") == [sum(powers)]
    out = lessons.answer(LESSON.softmax, np.log(2).astype(np.float32) * np.array([x], np.float32))[0]
    np.testing.assert_allclose(row("out"), out, rtol=1e-6)
