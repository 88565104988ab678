"""Day 15's solution by itself: against float64, over shapes, launch shapes and gates; and what its page says."""

from __future__ import annotations

import re

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import emulator
from engine import device
from grader import budget, compare, oracles
from grader.curriculum import find
from tests import lessons

DAY = find("day15")
LESSON = lessons.load(DAY)
FLOAT32 = np.dtype(np.float32)
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def pair(seed: int, tokens: int, intermediate: int, spread: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    gate, up = np.random.default_rng(seed).standard_normal((2, tokens, intermediate))
    return (spread * gate).astype(np.float32), up.astype(np.float32)


def layer(seed: int, tokens: int, hidden: int, intermediate: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    shapes = (intermediate, hidden), (intermediate, hidden), (hidden, intermediate)
    weights = ((rng.standard_normal(shape) / np.sqrt(max(1, shape[1]))).astype(BFLOAT16) for shape in shapes)
    return rng.standard_normal((tokens, hidden)).astype(np.float32), *weights


def assert_right(function: str, *args: np.ndarray) -> None:
    out = lessons.answer(getattr(LESSON, function), *args)
    expected, allowed = getattr(oracles, function)(*args), getattr(budget, function)(*args)
    result = compare.compare(out, expected, FLOAT32, allowed)
    assert result.right, (result.problem, result.rows)


@lessons.randomly(60)
@given(
    tokens=st.integers(0, 5),
    intermediate=st.one_of(st.integers(0, 20), st.integers(0, 2100)),
    exponent=st.integers(-20, 37),
    seed=st.integers(0, 2**32 - 1),
)
def test_swiglu_for_any_shape_and_gate(on, tokens, intermediate, exponent, seed):
    assert_right("swiglu", *pair(seed, tokens, intermediate, 10.0**exponent))


def test_gates_around_which_exponentials_overflow(on):
    gate = np.concatenate([np.linspace(-104, -86, 5000), np.linspace(86, 104, 5000)]).astype(np.float32)[None]
    assert_right("swiglu", gate, pair(1, 1, 10_000)[1])


@pytest.mark.parametrize("threads", [1, 32, 100, 1024])
def test_swiglu_for_any_block(on, threads, monkeypatch):
    monkeypatch.setattr(LESSON, "THREADS", threads)
    assert_right("swiglu", *pair(threads, 3, 1367))


@lessons.randomly(30)
@given(
    tokens=st.integers(0, 20),
    hidden=st.integers(1, 80),
    intermediate=st.integers(1, 130),
    seed=st.integers(0, 2**32 - 1),
)
def test_mlp_for_any_shape(on, tokens, hidden, intermediate, seed):
    assert_right("mlp", *layer(seed, tokens, hidden, intermediate))


@pytest.mark.parametrize("dtype", [BFLOAT16, np.dtype(np.float16)], ids=str)
def test_rounding_between_the_products_breaks_the_budget(dtype):
    x, w_gate, w_up, w_down = layer(2, 17, 64, 160)
    hidden = oracles.swiglu(oracles.product(x, w_gate), oracles.product(x, w_up)).astype(dtype)
    out = oracles.product(hidden, w_down).astype(np.float32)
    expected, allowed = oracles.mlp(x, w_gate, w_up, w_down), budget.mlp(x, w_gate, w_up, w_down)
    assert compare.compare(out, expected, FLOAT32, allowed).share > 1.5


def test_a_part_of_an_array_that_begins_between_groups_is_refused(on):
    gate, up = (device.to_device(array) for array in pair(3, 3, 5))
    assert_right("swiglu", *pair(3, 3, 5))
    with pytest.raises(ValueError, match=r"gate lies at 0x\w+: expected a multiple of 16 bytes"):
        LESSON.swiglu(gate[1:], up[1:])


@pytest.mark.parametrize("intermediate", [1, 3, 4, 33, 1025])
def test_checker_finds_nothing(on_cpu, intermediate):
    device.select("cpu", check=emulator.Checks(schedules=6, outputs=("out",)))
    assert_right("swiglu", *pair(4, 2, intermediate))


def test_worked_example(on):
    spec = (DAY.lesson / "README.md").read_text()

    def row(label: str) -> list[float]:
        found = re.search(rf"^    {label} +(.*)$", spec, re.MULTILINE)
        assert found, label
        parts = (number.split("/") for number in found[1].split()[:4])
        return [float(part[0]) / float(part[-1]) if len(part) > 1 else float(part[0]) for part in parts]

    powers = np.array(row("gate / ln 3"))
    gate = powers * np.log(3)
    np.testing.assert_allclose(row(r"exp\(-gate\)"), 3.0**-powers)
    np.testing.assert_allclose(row("sigmoid"), 1 / (1 + 3.0**-powers))
    np.testing.assert_allclose(row("gate  "), gate, atol=5e-4)
    np.testing.assert_allclose(row("silu"), gate / (1 + 3.0**-powers), atol=5e-4)
    args = (np.array([values], np.float32) for values in (gate, row("up")))
    out = lessons.answer(LESSON.swiglu, *args)[0]
    np.testing.assert_allclose(row("out"), out, atol=5e-4)
