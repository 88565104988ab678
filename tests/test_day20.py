"""Day 20 by itself: against float64 over shapes and beside day 14; what lies behind the length; what its pages say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import device
from engine.ops import attend
from engine.ops.attention import attention
from grader import compare
from grader.checks import day20 as checks
from grader.curriculum import find
from tests import lessons

DAY = find("day20")
SOLUTION = lessons.load(DAY)
FLOAT32 = np.dtype(np.float32)


def run(q, k, v, length):
    return lessons.answer(SOLUTION.decode_attention, q, k, v, length)


def assert_right(arguments) -> None:
    got = run(*arguments)
    result = compare.compare(got, checks.expected(*arguments), FLOAT32, checks.allowed(*arguments))
    assert result.right, (result.problem, result.rows)


@lessons.randomly(25)
@given(
    length=st.one_of(st.integers(1, 40), st.integers(1, 1000)),
    kv_heads=st.integers(1, 3),
    group=st.sampled_from([1, 2, 4]),
    head_dim=st.integers(1, 96),
    spare=st.integers(0, 5),
    scale=st.sampled_from([0.0, 1.0, 30.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_right_for_any_shape(on, length, kv_heads, group, head_dim, spare, scale, seed):
    make = checks.decode(length, kv_heads * group, kv_heads, head_dim, spare, scale)
    assert_right(make(np.random.default_rng(seed)))


@pytest.mark.parametrize("threads", [32, 1024])
def test_right_for_any_block(on, threads, monkeypatch):
    monkeypatch.setattr(SOLUTION, "THREADS", threads)
    for length in (1, 33, 100):
        assert_right(checks.decode(length, 4, 2)(np.random.default_rng(length)))


def test_what_lies_behind_changes_no_bit(on):
    q, k, v, length = checks.decode(50, 6, 2, spare=20)(np.random.default_rng(1))
    poisoned = run(q, k, v, length)
    k[length:], v[length:] = 7.0, -7.0
    assert run(q, k, v, length).tobytes() == poisoned.tobytes()
    assert run(q, k[:length].copy(), v[:length].copy(), length).tobytes() == poisoned.tobytes()


def test_the_longest_text_that_fits(on):
    assert on != "cpu" or SOLUTION.longest(4, 64) == 13_472  # as the solution's page says
    longest = SOLUTION.longest(32, 1)
    assert_right(checks.decode(longest, 32, 1, 1)(np.random.default_rng(2)))
    with pytest.raises(ValueError, match=rf"length is {longest + 1}: expected at most {longest} .* shared memory"):
        run(*checks.decode(longest + 1, 32, 1, 1)(np.random.default_rng(2)))


def test_the_worked_example(on):
    nan = np.nan
    q = np.array([[1], [2]], np.float32)
    k, v = (np.array(rows, np.float32).reshape(4, 1, 1) for rows in ([1, 0, 2, nan], [3, 5, 6, nan]))
    assert run(q, k, v, 3).ravel() == pytest.approx(lessons.example_row(DAY, "results"), abs=6e-4)


@pytest.mark.parametrize("tokens", [1, 3])
def test_attend_is_attention(on, tokens):
    rng = np.random.default_rng(3)
    q = rng.standard_normal((tokens, 6, 32)).astype(np.float32)
    k, v = (rng.standard_normal((40, 2, 32)).astype(np.float32) for _ in "kv")
    arguments = [device.to_device(a) for a in (q, k, v)]
    got, expected = (device.to_host(f(*arguments)) for f in (attend.attend, attention))
    assert got.shape == expected.shape
    assert np.allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_attend_leaves_what_does_not_fit_to_attention(on):
    """More scores of a group than shared memory holds; and whatever is refused is refused in attention's words."""
    q = device.xp.ones((1, 32, 1), np.float32)
    k = device.xp.ones((SOLUTION.longest(32, 1) + 1, 1, 1), np.float32)
    assert np.allclose(device.to_host(attend.attend(q, k, k)), 1.0)
    for shape in ((5, 3, 1), (0, 1, 1), (5, 0, 1), (5, 1, 2)):
        with pytest.raises(ValueError, match=r"^k has"):
            attend.attend(q, device.xp.ones(shape, np.float32), device.xp.ones(shape, np.float32))
