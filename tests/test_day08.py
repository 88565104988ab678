"""Day 8's solution by itself: against float64, over shapes, alignments and special values; what its pages say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import emulator
from engine import device
from grader import budget, compare, oracles
from grader.curriculum import find
from tests import lessons, products
from tests.products import BFLOAT16, FLOAT32

DAY = find("day08")
LESSON = lessons.load(DAY)
PRODUCT = products.Product(LESSON.matvec, budget.product)
run, assert_right = PRODUCT.run, PRODUCT.assert_right


def numbers(seed: int, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    (x,), weight = PRODUCT.numbers(seed, 1, rows, columns)
    return x, weight


@lessons.randomly(60)
@given(
    rows=st.integers(0, 20),
    columns=st.one_of(st.integers(0, 40), st.integers(0, 2100)),
    seed=st.integers(0, 2**32 - 1),
)
def test_right_for_any_shape(on, rows, columns, seed):
    assert_right(*numbers(seed, rows, columns))


@pytest.mark.parametrize("threads", [32, 64, 1024])
def test_right_for_any_block(on, threads, monkeypatch):
    monkeypatch.setattr(LESSON, "THREADS", threads)
    monkeypatch.setattr(LESSON, "ROWS_PER_BLOCK", threads // 32)
    for rows in (1, 31, 33):
        assert_right(*numbers(threads, rows, 600))


@pytest.mark.parametrize("offset", range(9))
def test_right_for_views_that_start_anywhere(on, offset):
    """Contiguous, but not at an address that is a multiple of 16."""
    x, weight = numbers(3, 5, 512)
    x_there = device.to_device(np.concatenate([np.zeros(offset, np.float32), x]))[offset:]
    flat = np.concatenate([np.zeros(offset, BFLOAT16), weight.reshape(-1)])
    weight_there = device.to_device(flat)[offset:].reshape(5, 512)
    assert_right(x, weight, device.to_host(LESSON.matvec(x_there, weight_there)))


@pytest.mark.parametrize("offset", [1, 4, 8])
def test_views_are_loaded_as_their_address_allows(on_cpu, offset):
    device.select("cpu", check=emulator.Checks(schedules=1, outputs=("out",)))
    x, weight = numbers(4, 3, 300)
    shifted = np.concatenate([np.zeros(offset, np.float32), x])[offset:]
    assert_right(x, weight, LESSON.matvec(shifted, weight))


def test_special_values_stay_in_their_row(on):
    x, weight = numbers(5, 4, 100)
    weight[1, 99], weight[2, 3] = np.nan, np.inf
    out = run(x, weight)
    assert np.isnan(out[1])
    assert np.isinf(out[2])
    assert_right(x, weight[[0, 3]], out[[0, 3]])


def test_same_bits_every_time(on):
    x, weight = numbers(6, 64, 3000)
    first = run(x, weight).tobytes()
    assert all(run(x, weight).tobytes() == first for _ in range(5))


def test_lower_precision_breaks_the_budget():
    """A sum in bfloat16, and x in bfloat16, both fail."""
    x, weight = numbers(7, 32, 1024)
    exact, allowed = oracles.product(x, weight), budget.product(x, weight)
    narrow_x = weight.astype(np.float64) @ x.astype(BFLOAT16).astype(np.float64)
    narrow_sum = exact.astype(BFLOAT16)
    for wrong in (narrow_x, narrow_sum):
        assert not compare.compare(wrong.astype(np.float32), exact, FLOAT32, allowed).right
    assert compare.compare(exact.astype(np.float32), exact, FLOAT32, allowed).right


X, WEIGHT = numbers(8, 4, 64)
BAD = {
    "x of two dimensions": (X[None], WEIGHT, r"x has shape \(1, 64\): expected \[in\]"),
    "x a list": ([1.0], WEIGHT, r"x is a list: expected an array \[in\]"),
    "x float64": (X.astype(np.float64), WEIGHT, "x is float64: expected float32"),
    "every second x": (np.repeat(X, 2)[::2], WEIGHT, r"x has strides \(8,\): expected a C-contiguous"),
    "weight of one dimension": (X, WEIGHT[0], r"weight has shape \(64,\): expected \[out, 64\]"),
    "weight too wide": (X[:63].copy(), WEIGHT, r"weight has shape \(4, 64\): expected \[out, 63\]"),
    "weight float32": (X, WEIGHT.astype(np.float32), "weight is float32: expected bfloat16"),
    "weight transposed": (X[:4].copy(), WEIGHT.T, r"weight has strides \(2, 128\): expected a C-contiguous"),
    "too many rows": (X[:1].copy(), lessons.huge(BFLOAT16, 2**31, 1), "expected at most 2147481600 rows and columns"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused(on_cpu, name):
    x, weight, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        LESSON.matvec(x, weight)


def test_what_the_pages_say_of_costs(on_cpu):
    """18 loads for a row of 1,536 columns; the weight in whole sectors, once; x twice its sectors, for each row."""
    costs = lessons.costs_of(run, *numbers(9, 1, 1536))
    assert costs.total("requests", "global", write=False) == 18
    x, weight = numbers(9, 8, 1536)
    wide = [line for line in lessons.costs_of(run, x, weight).lines if line.bytes == 16]
    assert sum(line.transactions for line in wide) * 32 == weight.nbytes + 2 * 8 * x.nbytes == 5 * weight.nbytes


def test_worked_example(on):
    weight, x = lessons.example_row(DAY, "weight"), lessons.example_row(DAY, "x")
    terms = lessons.example_row(DAY, "product")
    lanes = [int(lane) for lane in lessons.example_row(DAY, "its lane")]
    assert terms == [w * v for w, v in zip(weight, x, strict=True)]
    wide = len(terms) // 2 * 2
    assert lanes == [i // 2 % 4 for i in range(wide)] + [0]
    sums = [sum(p for p, lane in zip(terms, lanes, strict=True) if lane == mine) for mine in range(4)]
    assert lessons.example_row(DAY, "lane sums") == sums
    (out,) = run(np.array(x, np.float32), np.array([weight], BFLOAT16))
    assert lessons.example_row(DAY, "out") == [sum(sums)] == [float(out)]
