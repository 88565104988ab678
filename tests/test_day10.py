"""Day 10's solution by itself: against float64, over shapes and special values; what its pages say."""

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

DAY = find("day10")
LESSON = lessons.load(DAY)
PRODUCT = products.Product(LESSON.tensor_core_matmul, budget.tensor_core_product, BFLOAT16)
numbers, run, assert_right = PRODUCT.numbers, PRODUCT.run, PRODUCT.assert_right


@lessons.randomly(40)
@given(tokens=st.integers(0, 70), rows=st.integers(0, 140), columns=st.integers(0, 200), seed=st.integers(0, 2**32 - 1))
def test_right_for_any_shape(on, tokens, rows, columns, seed):
    assert_right(*numbers(seed, tokens, rows, columns))


@pytest.mark.parametrize("offset", range(1, 9))
def test_right_for_views_that_start_anywhere(on, offset):
    """Contiguous, but not at an address that is a multiple of 16."""
    x, weight = numbers(1, 5, 10, 72)
    there = [
        device.to_device(np.concatenate([np.zeros(offset, BFLOAT16), a.reshape(-1)]))[offset:].reshape(a.shape)
        for a in (x, weight)
    ]
    assert_right(x, weight, device.to_host(LESSON.tensor_core_matmul(*there)))


def test_errors_that_all_point_the_same_way_stay_within_the_budget(on):
    """Positive numbers: what tensor cores cut off adds up."""
    x, weight = (np.abs(a.astype(np.float32)).astype(BFLOAT16) for a in numbers(2, 16, 16, 8192))
    assert_right(x, weight)


def test_special_values_stay_in_their_token_and_row(on):
    x, weight = numbers(3, 20, 70, 70)
    x[17, 5], weight[65, 69] = np.nan, np.nan
    out = run(x, weight)
    assert np.isnan(out[17]).all()
    assert np.isnan(out[:, 65]).all()
    rest = np.ix_(np.delete(np.arange(20), 17), np.delete(np.arange(70), 65))
    assert_right(np.delete(x, 17, axis=0), np.delete(weight, 65, axis=0), np.ascontiguousarray(out[rest]))


def test_lower_precision_breaks_the_budget():
    """A sum that is rounded to bfloat16 once, at its end, already fails."""
    x, weight = numbers(4, 32, 32, 128)
    exact, allowed = oracles.product(x, weight), budget.tensor_core_product(x, weight)
    assert not compare.compare(exact.astype(BFLOAT16).astype(np.float32), exact, FLOAT32, allowed).right
    assert compare.compare(exact.astype(np.float32), exact, FLOAT32, allowed).right


X, WEIGHT = numbers(5, 4, 8, 64)
BAD = {
    "x of one dimension": (X[0], WEIGHT, r"x has shape \(64,\): expected \[tokens, in\]"),
    "x float32": (X.astype(np.float32), WEIGHT, "x is float32: expected bfloat16"),
    "x transposed": (X[:, :4].T, WEIGHT[:, :4].copy(), r"x has strides \(2, 128\): expected a C-contiguous"),
    "weight a list": (X, [[1.0]], r"weight is a list: expected an array \[out, 64\]"),
    "weight too narrow": (X, WEIGHT[:, :63].copy(), r"weight has shape \(8, 63\): expected \[out, 64\]"),
    "weight float32": (X, WEIGHT.astype(np.float32), "weight is float32: expected bfloat16"),
    "too many tokens": (lessons.huge(BFLOAT16, 65535 * 64 + 1, 64), WEIGHT, "expected at most 4194240 tokens"),
    "too many rows": (X[:, :1].copy(), lessons.huge(BFLOAT16, 2**31, 1), "expected at most 2147483520 rows and col"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused(on_cpu, name):
    x, weight, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        LESSON.tensor_core_matmul(x, weight)


def constants() -> dict[str, int]:
    text = (DAY.solution / "kernel.cu").read_text()
    return {name: int(value) for name, value in re.findall(r"constexpr int (\w+) = (\d+);", text)}


def test_launch_shape_is_the_kernels():
    kernel = constants()
    assert (kernel["TILE"], kernel["THREADS"]) == (LESSON.TILE, LESSON.THREADS)
    assert 32 * (kernel["TILE"] // kernel["PART"]) ** 2 == LESSON.THREADS


@pytest.mark.parametrize("shape", [(1, 1, 1), (20, 70, 75), (65, 10, 64)])
def test_checker_finds_nothing(on_cpu, shape):
    device.select("cpu", check=emulator.Checks(schedules=6, outputs=("out",)))
    assert_right(*numbers(6, *shape))


def test_what_the_pages_say_of_costs(on_cpu):
    """16 bytes a load, whole sectors, each number used 64 times; fragments are loaded without a bank conflict."""
    x, weight = numbers(7, 64, 128, 192)
    costs = lessons.costs_of(run, x, weight)
    loads = [line for line in costs.lines if line.space == "global" and not line.write]
    assert {line.bytes for line in loads} == {16}
    assert sum(8 * line.lanes for line in loads) * 32 == 64 * 128 * 192
    assert sum(line.transactions for line in loads) * 32 == 2 * x.nbytes + weight.nbytes
    assert costs.barriers == 2 * 2 * 3
    fragments = [line for line in costs.lines if line.space == "shared" and not line.write and line.bytes == 2]
    assert sum(line.transactions for line in fragments) == sum(line.ideal for line in fragments)


# ---- the page ---------------------------------------------------------------------------------------------------------


def test_worked_example(on):
    text = (DAY.lesson / "README.md").read_text().replace("·", "0")

    def cut(what: str) -> list[float]:
        found = re.search(rf"{what} +(\d) +(\d) \| (\d) +(\d)\b", text)
        assert found, what
        return [float(n) for n in found.groups()]

    x = np.array([cut("x token 0"), cut("x token 1")], np.float32)
    weight = np.array([cut("weight row 0"), cut("weight row 1")], np.float32)
    assert (x[:, 3] == 0).all()
    assert (weight[:, 3] == 0).all()
    assert lessons.example_row(DAY, "after step 0") == (x[:, :2] @ weight[:, :2].T).reshape(-1).tolist()
    out = run(x[:, :3].astype(BFLOAT16), weight[:, :3].astype(BFLOAT16))
    assert lessons.example_row(DAY, "after step 1") == out.reshape(-1).tolist()


def test_banks_of_a_tiles_rows():
    width = constants()["DEPTH"] + 8
    starts = [row * width * 2 // 4 % 32 for row in range(8)]
    assert starts == list(range(0, 32, 4))
    assert "0, 4, 8, …, 28" in (DAY.lesson / "README.md").read_text()
