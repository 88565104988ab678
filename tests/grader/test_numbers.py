"""Budgets and comparisons: tight enough to fail the next lower precision, and NaN never passes."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from grader import budget, oracles
from grader.compare import compare, exact, pattern, same
from grader.spec import DTYPES, Allowed

EPS = 1e-5


def rmsnorm_in(x, weight, accumulator):
    """RMSNorm whose sum of squares is rounded to a lower precision after each addition."""
    squares = np.zeros(len(x), accumulator)
    for column in x.T:
        squares = (squares.astype(np.float64) + column.astype(np.float64) ** 2).astype(accumulator)
    scale = 1 / np.sqrt(squares.astype(np.float64) / x.shape[1] + EPS)
    return (x.astype(np.float64) * scale[:, None] * weight.astype(np.float64)).astype(x.dtype)


@pytest.mark.parametrize("hidden", [31, 576, 2048])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("accumulator", "right"), [(np.float64, True), (np.float32, True), (np.float16, False), (ml_dtypes.bfloat16, False)]
)
def test_budget_divides_the_precisions(hidden, dtype, accumulator, right):
    rng = np.random.default_rng(hidden)
    x = rng.standard_normal((4, hidden)).astype(DTYPES[dtype])
    weight = rng.standard_normal(hidden).astype(DTYPES[dtype])
    got = rmsnorm_in(x, weight, accumulator)
    verdict = compare(got, oracles.rmsnorm(x, weight, EPS), x.dtype, budget.rmsnorm(x, weight, EPS))
    if accumulator is np.float16 and dtype == "bfloat16" and hidden == 31:
        right = True  # 31 roundings of 2⁻¹¹ are less than the one of 2⁻⁸ that the result itself needs
    assert verdict.right is right, verdict


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_unit_roundoff_is_the_largest_relative_error_of_rounding(dtype):
    x = np.random.default_rng(0).uniform(1, 2, 200_000)
    error = np.abs(x.astype(DTYPES[dtype]).astype(np.float64) - x) / x
    u = budget.unit_roundoff(DTYPES[dtype])
    assert 0.95 * u < error.max() <= u


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_never_passes(poison):
    expected = np.ones((2, 3))
    got = np.ones((2, 3), np.float32)
    got[1, 2] = poison
    assert not compare(got, expected, np.dtype(np.float32), 1e9).right
    assert not compare(np.full((2, 3), np.nan, np.float32), expected, np.dtype(np.float32), np.inf).right


def test_wrong_shape_and_dtype_are_named():
    expected = np.ones((2, 3))
    assert "shape (3, 2)" in compare(np.ones((3, 2), np.float32), expected, np.dtype(np.float32), 1).problem
    assert "dtype float64" in compare(np.ones((2, 3)), expected, np.dtype(np.float32), 1).problem


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: a.__setitem__((slice(None), slice(992, 1000)), 5.0), "the last 8 of 1,000 columns in every row"),
        (lambda a: a.__setitem__((slice(None), slice(3, 7)), 5.0), "columns 3 to 6 in every row"),
        (lambda a: a.__setitem__(1, 5.0), "whole rows: 1"),
        (lambda a: a.__setitem__((slice(None), slice(990, 1000)), np.nan), "all of them NaN"),
        (lambda a: a.__imul__(0.5), "each 0.5 times what it should be"),
    ],
)
def test_patterns_are_put_in_words(change, words):
    expected = np.random.default_rng(0).standard_normal((3, 1000)) + 3
    answer = expected.copy()
    change(answer)
    assert words in pattern(~(answer == expected), answer, expected)


def row_sum_in(x, accumulator):
    """A sum in the order of day 6, where every number is kept in a lower precision."""
    padded = np.zeros((len(x), -(-x.shape[1] // 256) * 256))
    padded[:, : x.shape[1]] = x
    values = np.zeros((len(x), 256), accumulator)
    for part in np.split(padded, padded.shape[1] // 256, axis=1):
        values = (values.astype(np.float64) + part).astype(accumulator)
    while values.shape[1] > 1:
        left, right = np.split(values.astype(np.float64), 2, axis=1)
        values = (left + right).astype(accumulator)
    return values[:, 0].astype(np.float32)


@pytest.mark.parametrize("n", [33, 1000, 100_003])
@pytest.mark.parametrize("offset", [0.0, 4.0])
@pytest.mark.parametrize(
    ("accumulator", "right"), [(np.float64, True), (np.float32, True), (np.float16, False), (ml_dtypes.bfloat16, False)]
)
def test_budget_of_a_sum_divides_the_precisions(n, offset, accumulator, right):
    x = (np.random.default_rng(n).standard_normal((4, n)) + offset).astype(np.float32)
    with np.errstate(over="ignore"):
        got = row_sum_in(x, accumulator)
    assert compare(got, oracles.row_sum(x), np.dtype(np.float32), budget.row_sum(x)).right is right


def test_maximum_must_be_exact():
    x = np.random.default_rng(0).standard_normal((4, 33)).astype(np.float32)
    got = x.max(axis=1)
    assert compare(got, oracles.row_max(x), got.dtype, budget.row_max(x)).right
    off = np.nextafter(got, np.float32(np.inf))
    assert not compare(off, oracles.row_max(x), got.dtype, budget.row_max(x)).right


@pytest.mark.parametrize(
    ("other", "apart"),
    [
        ([1.0, np.nan], 0.0),
        ([1.0 + 1e-6, np.nan], pytest.approx(1e-6, rel=0.1)),
        ([1.1, np.nan], None),
        ([1.0, 2.0], None),
    ],
)
def test_the_same_mistake_in_another_order_is_the_same(other, apart):
    mine = np.array([1.0, np.nan], np.float32)
    assert same(np.array(other, np.float32), mine, Allowed(0.0, np.array([1e-5, 1e-5]))) == apart


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [(768, 1000, "the last 232"), (3, 7, "elements 3 to 6"), (5, 6, ""), (0, 1000, "all of them 0")],
)
def test_patterns_of_a_vector_are_put_in_words(first, last, words):
    expected = np.random.default_rng(0).standard_normal(1000) + 9
    answer = expected.copy()
    answer[first:last] = 0.0 if last - first == 1000 else np.linspace(1, 5, last - first)
    assert pattern(~(answer == expected), answer, expected) == words


def test_a_signalling_nan_is_compared_without_a_warning():
    bits = np.array([0x7F810000, 0x3F800000], np.uint32)
    other = bits + np.array([0x400000, 0], np.uint32)
    with np.errstate(all="raise"):
        assert exact(bits.view(np.float32), bits.view(np.float32)).right
        assert not exact(other.view(np.float32), bits.view(np.float32)).right
