"""Day 6's solution by itself: against float64, over shapes, launch shapes and special values; what its page says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import emulator
from engine import device
from grader import budget, compare, oracles
from grader.curriculum import find
from tests import lessons

DAY = find("day06")
LESSON = lessons.load(DAY)
FLOAT32 = np.dtype(np.float32)
FUNCTIONS = {
    "row_sum_tree": (oracles.row_sum, budget.row_sum),
    "row_sum": (oracles.row_sum, budget.row_sum),
    "row_max": (oracles.row_max, budget.row_max),
}


def numbers(seed: int, rows: int, n: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((rows, n)) * 2.0 ** rng.uniform(-2, 2, (rows, 1))).astype(np.float32)


def run(function: str, x: np.ndarray) -> np.ndarray:
    return lessons.answer(getattr(LESSON, function), x)


def assert_right(function: str, x: np.ndarray) -> None:
    oracle, allowed = FUNCTIONS[function]
    result = compare.compare(run(function, x), oracle(x), FLOAT32, allowed(x))
    assert result.right, (function, result.problem, result.rows)


@lessons.randomly(60)
@given(
    function=st.sampled_from(sorted(FUNCTIONS)),
    rows=st.integers(0, 5),
    n=st.one_of(st.integers(1, 40), st.integers(1, 2100)),
    seed=st.integers(0, 2**32 - 1),
)
def test_right_for_any_shape(on, function, rows, n, seed):
    assert_right(function, numbers(seed, rows, n))


@pytest.mark.parametrize("threads", [32, 64, 512, 1024])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_right_for_any_block(on, function, threads, monkeypatch):
    monkeypatch.setattr(LESSON, "THREADS", threads)
    for n in (1, 31, 1000, 2048):
        assert_right(function, numbers(threads, 3, n))


def test_maximum_is_numpys_with_nan_and_infinities_anywhere(on):
    rng = np.random.default_rng(3)
    x = rng.choice(np.array([-np.inf, -1, 0.5, np.inf, np.nan], np.float32), (400, 40), p=[0.5, 0.4, 0.04, 0.03, 0.03])
    got, expected = run("row_max", x), x.max(axis=1)
    assert {-1.0, 0.5, np.inf} <= set(expected[~np.isnan(expected)].tolist())
    assert np.isnan(expected).any()
    np.testing.assert_array_equal(got, expected)


def test_same_bits_every_time(on):
    x = numbers(4, 16, 5000)
    first = run("row_sum", x).tobytes()
    assert all(run("row_sum", x).tobytes() == first for _ in range(5))


BAD = {
    "one dimension": (np.zeros(4, np.float32), r"x has shape \(4,\): expected \[rows, n\]"),
    "no columns": (np.zeros((4, 0), np.float32), r"x has shape \(4, 0\): expected .* at least 1"),
    "float64": (np.zeros((4, 4)), "x is float64: expected float32"),
    "transposed": (np.zeros((4, 8), np.float32).T, r"x has strides \(4, 32\): expected a C-contiguous"),
    "not an array": ([[1.0]], r"x is a list: expected an array \[rows, n\]"),
    "too many rows": (lessons.huge(FLOAT32, 2**31, 1), "expected at most 2147483647 rows"),
    "too many columns": (lessons.huge(FLOAT32, 1, 2**31), "and 2147483392 columns"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused(on_cpu, name):
    x, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        LESSON.row_sum(x)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_checker_finds_nothing(on_cpu, function):
    device.select("cpu", check=emulator.Checks(schedules=6, outputs=("out",)))
    for n in (1, 33, 257, 1000):
        assert_right(function, numbers(6, 2, n))


def test_what_the_pages_say_of_costs(on_cpu):
    """Barriers for each row from nine to one, no bank conflicts, each byte read once."""
    x = numbers(7, 1, 4096)
    tree, shuffles = (lessons.costs_of(run, function, x) for function in ("row_sum_tree", "row_sum"))
    assert (tree.barriers, shuffles.barriers) == (9, 1)
    for costs in (tree, shuffles):
        assert costs.bank_conflicts == 0
        assert costs.global_bytes == x.nbytes + 32  # the result takes one sector


# ---- the page ---------------------------------------------------------------------------------------------------------


def test_worked_example_of_the_tree(on):
    slots = lessons.example_row(DAY, "slots")
    assert len(slots) == 8
    level = slots
    for half in (4, 2, 1):
        level = [a + b for a, b in zip(level[:half], level[half:], strict=True)]
        assert lessons.example_row(DAY, f"half {half}") == level
    assert level == [float(run("row_sum_tree", np.array([slots], np.float32))[0])]


def test_worked_example_of_the_shuffles(on):
    values = lessons.example_row(DAY, "value")
    assert lessons.example_row(DAY, "lane") == list(range(8))
    for distance in (4, 2, 1):
        values = [v + values[lane ^ distance] for lane, v in enumerate(values)]
        assert lessons.example_row(DAY, f"distance {distance}") == values
    assert set(values) == {float(run("row_sum", np.array([lessons.example_row(DAY, "value")], np.float32))[0])}


def test_order_matters_as_the_page_says():
    big, one = np.float32(1e8), np.float32(1)
    assert (big + one) - big == 0
    assert one + (big - big) == 1
    assert np.spacing(big) == 8
