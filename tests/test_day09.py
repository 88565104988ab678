"""Day 9's solution by itself: against float64, over shapes and special values; what its pages say."""

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
from tests import lessons, products
from tests.products import BFLOAT16, FLOAT32

DAY = find("day09")
LESSON = lessons.load(DAY)
PRODUCT = products.Product(LESSON.matmul, budget.product)
numbers, run, assert_right = PRODUCT.numbers, PRODUCT.run, PRODUCT.assert_right


@lessons.randomly(60)
@given(tokens=st.integers(0, 70), rows=st.integers(0, 70), columns=st.integers(0, 130), seed=st.integers(0, 2**32 - 1))
def test_right_for_any_shape(on, tokens, rows, columns, seed):
    assert_right(*numbers(seed, tokens, rows, columns))


def test_it_is_yesterdays_product_for_each_token(on):
    from engine.ops.matvec import matvec

    x, weight = numbers(1, 5, 40, 576)
    together = run(x, weight)
    alone = np.stack([device.to_host(matvec(device.to_device(token), device.to_device(weight))) for token in x])
    allowed = budget.product(x, weight)
    assert (np.abs(together.astype(np.float64) - alone) <= 2 * np.asarray(allowed.absolute)).all()


def test_special_values_stay_in_their_token_and_row(on):
    x, weight = numbers(2, 40, 50, 70)
    x[33, 5], weight[48, 69] = np.nan, np.nan
    out = run(x, weight)
    assert np.isnan(out[33]).all()
    assert np.isnan(out[:, 48]).all()
    rest = np.ix_(np.delete(np.arange(40), 33), np.delete(np.arange(50), 48))
    assert_right(np.delete(x, 33, axis=0), np.delete(weight, 48, axis=0), np.ascontiguousarray(out[rest]))


def test_a_tokens_bits_do_not_depend_on_the_others(on):
    x, weight = numbers(3, 50, 40, 300)
    together = run(x, weight)
    for token in (0, 31, 32, 49):
        assert run(x[token : token + 1], weight).tobytes() == together[token].tobytes()


def test_lower_precision_breaks_the_budget():
    """Sums in bfloat16, and x in bfloat16, both fail."""
    x, weight = numbers(4, 8, 32, 1024)
    exact, allowed = oracles.product(x, weight), budget.product(x, weight)
    narrow_x = x.astype(BFLOAT16).astype(np.float64) @ weight.astype(np.float64).T
    for wrong in (narrow_x, exact.astype(BFLOAT16)):
        assert not compare.compare(wrong.astype(np.float32), exact, FLOAT32, allowed).right
    assert compare.compare(exact.astype(np.float32), exact, FLOAT32, allowed).right


X, WEIGHT = numbers(5, 4, 8, 64)
BAD = {
    "x of one dimension": (X[0], WEIGHT, r"x has shape \(64,\): expected \[tokens, in\]"),
    "x a list": ([[1.0]], WEIGHT, r"x is a list: expected an array \[tokens, in\]"),
    "x bfloat16": (X.astype(BFLOAT16), WEIGHT, "x is bfloat16: expected float32"),
    "x transposed": (X[:, :4].T, WEIGHT[:, :4].copy(), r"x has strides \(4, 256\): expected a C-contiguous"),
    "weight of one dimension": (X, WEIGHT[0], r"weight has shape \(64,\): expected \[out, 64\]"),
    "weight too narrow": (X, WEIGHT[:, :63].copy(), r"weight has shape \(8, 63\): expected \[out, 64\]"),
    "weight float32": (X, WEIGHT.astype(np.float32), "weight is float32: expected bfloat16"),
    "rows of a wider weight": (X[:, :32].copy(), WEIGHT[:, :32], r"weight has strides \(128, 2\): expected a C-contig"),
    "too many tokens": (lessons.huge(FLOAT32, 65535 * 32 + 1, 64), WEIGHT, "expected at most 2097120 tokens"),
    "too many rows": (X[:, :1].copy(), lessons.huge(BFLOAT16, 2**31, 1), "expected at most 2147483584 rows and col"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused(on_cpu, name):
    x, weight, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        LESSON.matmul(x, weight)


def test_launch_shape_is_the_kernels():
    text = (DAY.solution / "kernel.cu").read_text()
    tile, per_thread = (int(re.search(rf"constexpr int {name} = (\d+);", text)[1]) for name in ("TILE", "PER_THREAD"))
    assert (tile, tile // per_thread) == (LESSON.TILE, LESSON.STEP)


@pytest.mark.parametrize("shape", [(1, 1, 1), (33, 40, 70), (64, 32, 31)])
def test_checker_finds_nothing(on_cpu, shape):
    device.select("cpu", check=emulator.Checks(schedules=6, outputs=("out",)))
    assert_right(*numbers(6, *shape))


def test_what_the_pages_say_of_costs(on_cpu):
    """A load for 16 multiply-adds, two barriers a step, nine trips to shared memory for eight multiply-adds, no conflict."""
    tokens, rows, columns = 32, 64, 96
    costs = lessons.costs_of(run, *numbers(7, tokens, rows, columns))
    multiply_adds, steps = tokens * rows * columns, tokens * rows * columns // 32**3
    assert costs.total("lanes", "global", write=False) * 16 == multiply_adds
    assert costs.barriers == 2 * steps
    assert costs.total("transactions", "shared", write=False) * 32 * 8 == 9 * multiply_adds
    assert costs.bank_conflicts == 0


# ---- the page ---------------------------------------------------------------------------------------------------------


def test_worked_example(on):
    def cut(what: str) -> list[list[float]]:
        text = (DAY.lesson / "README.md").read_text()
        found = re.search(rf"{what} +(\d) +(\d) \| (\d) +(\d)\b", text)
        assert found, what
        return [float(n) for n in found.groups()]

    x = np.array([cut("x token 0"), cut("x token 1")], np.float32)
    weight = np.array([cut("weight row 0"), cut("weight row 1")], np.float32).astype(BFLOAT16)
    half = x[:, :2] @ weight[:, :2].astype(np.float32).T
    assert lessons.example_row(DAY, "after step 0") == half.reshape(-1).tolist()
    assert lessons.example_row(DAY, "after step 1") == run(x, weight).reshape(-1).tolist()
