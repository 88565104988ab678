"""Day 11's solution by itself: against float64, over shapes, launch shapes and positions; and what its page says."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import emulator
from engine import device
from engine.config import RopeScaling
from grader import budget, compare, goldens, oracles
from grader.curriculum import find
from tests import lessons

DAY = find("day11")
LESSON = lessons.load(DAY)
SPEC = (DAY.lesson / "README.md").read_text()
FLOAT32 = np.dtype(np.float32)
LLAMA_3_2 = goldens.load("rope")["tables"]["theta 500,000, llama3"]["scaling"]


def tokens(seed: int, count: int, heads: int, head_dim: int, highest: int = 131_072) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((count, heads, head_dim)) * 2.0 ** rng.uniform(-2, 2, (count, heads, 1))
    frequencies = LESSON.inverse_frequencies(head_dim, 10.0 ** rng.uniform(1, 6))
    return x.astype(np.float32), rng.integers(0, highest, count).astype(np.int32), frequencies


def assert_right(*args: np.ndarray) -> None:
    result = compare.compare(lessons.answer(LESSON.rope, *args), oracles.rope(*args), FLOAT32, budget.rope(*args))
    assert result.right, (result.problem, result.rows)


@lessons.randomly(60)
@given(
    count=st.integers(0, 6),
    heads=st.integers(0, 12),
    half=st.one_of(st.integers(1, 70), st.integers(1, 600)),
    highest=st.sampled_from([1, 10, 4096, 131_072, 2**24]),
    seed=st.integers(0, 2**32 - 1),
)
def test_right_for_any_shape_and_position(on, count, heads, half, highest, seed):
    assert_right(*tokens(seed, count, heads, 2 * half, highest))


@pytest.mark.parametrize("threads", [1, 32, 100, 1024])
def test_right_for_any_block(on, threads, monkeypatch):
    monkeypatch.setattr(LESSON, "THREADS", threads)
    assert_right(*tokens(threads, 3, 5, 66))


def test_the_largest_head(on):
    assert_right(*tokens(1, 2, 1, LESSON.MAX_HEAD_DIM))
    with pytest.raises(ValueError, match="x has shape"):
        LESSON.rope(np.zeros((1, 1, LESSON.MAX_HEAD_DIM + 2), np.float32), None, None)


def test_position_0_changes_nothing_and_lengths_stay(on):
    x, _, frequencies = tokens(2, 4, 3, 64)
    there = device.to_device(x), device.to_device(frequencies)
    out = device.to_host(LESSON.rope(there[0], device.to_device(np.zeros(4, np.int32)), there[1]))
    np.testing.assert_array_equal(out, x)
    out = device.to_host(LESSON.rope(there[0], device.to_device(np.arange(900, 904, dtype=np.int32)), there[1]))
    np.testing.assert_allclose(np.linalg.norm(out, axis=2), np.linalg.norm(x, axis=2), rtol=1e-6)


def test_the_engines_configuration_is_a_scaling_too():
    given = {name: value for name, value in LLAMA_3_2.items() if name != "rope_type"}
    np.testing.assert_array_equal(
        LESSON.inverse_frequencies(64, 5e5, RopeScaling(**given)), LESSON.inverse_frequencies(64, 5e5, LLAMA_3_2)
    )
    with pytest.raises(ValueError, match="rope_type is None"):
        LESSON.inverse_frequencies(64, 5e5, given)


@pytest.mark.parametrize("half", [1, 33, 300])
def test_checker_finds_nothing(on_cpu, half):
    device.select("cpu", check=emulator.Checks(schedules=6, outputs=("out",)))
    assert_right(*tokens(half, 2, 3, 2 * half))


def test_angles_in_bfloat16_break_the_budget():
    import ml_dtypes

    x, positions, frequencies = tokens(3, 8, 2, 64, highest=500)
    angles = (positions[:, None] * frequencies).astype(ml_dtypes.bfloat16).astype(np.float64)
    first, second = np.split(x.astype(np.float64), 2, axis=2)
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    turned = np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=2).astype(np.float32)
    expected, allowed = oracles.rope(x, positions, frequencies), budget.rope(x, positions, frequencies)
    assert compare.compare(turned, expected, FLOAT32, allowed).share > 20


def numbers_behind(label: str) -> list[float]:
    """Of a line in the page's example."""
    found = re.search(rf"^    {re.escape(label)} +(.*)$", SPEC, re.MULTILINE)
    assert found, label
    return [float(n) for n in re.findall(r"-?\d+(?:\.\d+)?(?=°| |$)", re.split(r" {4,}(?=of|x\[)", found[1])[0])]


def test_worked_example():
    x, angles = numbers_behind("x"), np.radians(numbers_behind("angle"))
    np.testing.assert_allclose(numbers_behind("cos"), np.cos(angles), atol=5e-4)
    np.testing.assert_allclose(numbers_behind("sin"), np.sin(angles), atol=5e-4)
    out = oracles.rope(np.array([[x]]), np.array([1]), angles)[0, 0]
    np.testing.assert_allclose(numbers_behind("out[i]") + numbers_behind("out[i + 4]"), out, atol=5e-4)


def test_pairs_that_the_page_calls_kept_blended_and_slowed_down():
    plain, scaled = (LESSON.inverse_frequencies(64, 500_000.0, scaling) for scaling in (None, LLAMA_3_2))
    kept, slowed = np.flatnonzero(scaled == plain), np.flatnonzero(np.isclose(scaled * 32, plain, rtol=1e-5))
    found = re.findall(r"^    (?:t [≥≤]|between).* pairs +(\d+) … (\d+)", SPEC, re.MULTILINE)
    blended = sorted(set(range(32)) - set(kept) - set(slowed))
    assert [[int(a), int(b)] for a, b in found] == [[p[0], p[-1]] for p in (kept, slowed, blended)]
