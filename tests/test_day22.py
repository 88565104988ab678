"""Day 22's solution by itself: published random numbers, filters against float64, frequencies; and what its page says."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import emulator
from benchmarks import tables
from benchmarks.suites import day22
from engine import device
from grader import budget, compare, oracles
from grader.checks.day22 import probabilities
from grader.curriculum import find
from tests import lessons
from tests.fakes import CEILINGS

DAY = find("day22")
LESSON = lessons.load(DAY)
FLOAT64 = np.dtype(np.float64)


def assert_right(x: np.ndarray, history: list[list[int]], chosen: dict[str, float]) -> None:
    weights = lessons.answer(LESSON.weights_of, x, history, chosen)
    expected, allowed = oracles.sampling(x, history, chosen), budget.sampling(x, history, chosen)
    result = compare.compare(probabilities((), weights), expected, FLOAT64, allowed)
    assert result.right, (result.problem, result.rows)


@lessons.randomly(60)
@given(
    rows=st.integers(0, 4),
    vocab=st.one_of(st.integers(1, 40), st.integers(1, 1500)),
    temperature=st.sampled_from([0.3, 1.0, 2.0]),
    top_k=st.integers(0, 60),
    penalty=st.sampled_from([0.5, 1.0, 1.7]),
    masked=st.sampled_from([0.0, 0.5, 1.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_right_for_any_shape_and_setting(on, rows, vocab, temperature, top_k, penalty, masked, seed):
    rng = np.random.default_rng(seed)
    x = np.where(rng.random((rows, vocab)) < masked, -np.inf, 4 * rng.standard_normal((rows, vocab))).astype(np.float32)
    history = [rng.integers(0, vocab, 9).tolist() for _ in range(rows)]
    assert_right(x, history, {"temperature": temperature, "top_k": top_k, "repetition_penalty": penalty})


@pytest.mark.parametrize("threads", [32, 96, 1024])
@pytest.mark.parametrize("vocab", [1, 33, 1000])
def test_right_for_any_block(on, threads, vocab, monkeypatch):
    monkeypatch.setattr(LESSON, "THREADS", threads)
    x = np.random.default_rng(threads).standard_normal((3, vocab)).astype(np.float32)
    assert_right(x, [[], [0], [0, 0]], {"top_k": 7, "repetition_penalty": 1.5})
    tokens = device.to_host(LESSON.Sampler(top_k=1).choose(device.to_device(x), [[]] * 3, 0))
    assert tokens.tolist() == x.argmax(axis=1).tolist()


def test_known_answers_of_philox(on):
    """A known answer that comes with Random123, the authors' library (`kat_vectors`, philox4x32 10)."""
    first, second = "6627e8d5", "e169c58d"
    assert f"{int(device.to_host(LESSON.random_bits(0, 0, 1))[0]):016x}" == second + first
    assert f"{int(oracles.random_bits(0, 0, 1)[0]):016x}" == second + first


def test_weights_decide_how_often(on):
    """Weights of 1 to 4, over 4,000 rows; and a token of weight 0 never comes."""
    weights = np.tile(np.array([1, 0, 2, 4, 3], np.uint64), (4000, 1))
    tokens = device.to_host(LESSON.Sampler(seed=7).draw(device.to_device(weights), 2))
    counts = np.bincount(tokens, minlength=5)
    p = np.array([0.1, 0, 0.2, 0.4, 0.3])
    assert (np.abs(counts - 4000 * p) <= budget.drawn(p, 4000).absolute[1:]).all(), counts


def test_a_wrong_distribution_is_told_from_chance():
    p = np.full(11, 1 / 11)
    allowed = budget.drawn(p, 1024).absolute
    rng = np.random.default_rng(0)
    for wrong in (np.arange(11.0) + 3, np.r_[np.ones(10), 0.0], np.r_[np.ones(10), 2.0]):
        counts = rng.multinomial(1024, wrong / wrong.sum())
        assert budget.chi_squared(counts, p) > allowed[0] or (np.abs(counts - 1024 * p) > allowed[1:]).any()
    for right in rng.multinomial(1024, p, 2000):
        assert budget.chi_squared(right, p) < allowed[0]
        assert (np.abs(right - 1024 * p) <= allowed[1:]).all()


def test_the_bound_of_chi_squared_is_on_the_safe_side():
    """For 2 degrees of freedom χ² exceeds x with probability e^(-x/2), for 4 with (1 + x/2)·e^(-x/2)."""
    two, four = (budget.drawn(np.full(m, 1 / m), 1000).absolute[0] for m in (2, 4))
    assert 1e-8 < np.exp(-two / 2) < 1.1e-7
    assert 1e-8 < (1 + four / 2) * np.exp(-four / 2) < 1.1e-7


def test_strategies_choose_alike_where_nothing_is_random(on):
    x = device.to_device(np.random.default_rng(1).standard_normal((3, 500)).astype(np.float32))
    strategies: list[LESSON.DecodingStrategy] = [
        LESSON.Greedy(),
        LESSON.Sampler(temperature=0),
        LESSON.Sampler(min_p=1),
    ]
    tokens = [device.to_host(s.choose(x, [[], [], []], 4)).tolist() for s in strategies]
    assert tokens[0] == tokens[1] == tokens[2]


@pytest.mark.parametrize("vocab", [1, 33, 600])
def test_checker_finds_nothing(on_cpu, vocab):
    outputs = ("sampling_scale:scaled", "sampling_weights:weights", "sampling_draw:out", "sampling_bits:out")
    device.select("cpu", check=emulator.Checks(schedules=6, outputs=outputs))
    x = np.random.default_rng(vocab).standard_normal((2, vocab)).astype(np.float32)
    assert_right(x, [[], [0, 0]], {"top_k": 20, "repetition_penalty": 1.2})
    LESSON.Sampler(top_p=0.5, seed=3).choose(device.to_device(x), [[], []], 1)


def test_worked_example():
    spec = (DAY.lesson / "README.md").read_text()

    def row(label: str) -> list[float]:
        found = re.search(rf"^    {label} +((?:[-\d./]+ +)*[-\d./]+)(?:   |$)", spec, re.MULTILINE)
        assert found, label
        parts = (part.split("/") for part in found[1].split())
        return [float(p[0]) / float(p[1]) if len(p) == 2 else float(p[0]) for p in parts]

    x = np.array([row("logits")])
    weights = row("weights")
    np.testing.assert_allclose(2.0 ** (x[0] - x.max()) * 16, weights)
    logits = (np.log(2) * x).astype(np.float32)
    for label, chosen in (("top-k 4", {"top_k": 4}), ("top-p 0.7", {"top_k": 4, "top_p": 0.7}),
                          ("min-p 1/2", {"top_k": 4, "top_p": 0.7, "min_p": 0.499})):  # fmt: skip
        kept = np.array(row(label))
        np.testing.assert_allclose(kept / kept.sum(), oracles.sampling(logits, [[]], chosen)[0], rtol=1e-6)


# ---- the suite -------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_shapes(numpy_as_cupy, monkeypatch):
    monkeypatch.setattr(day22, "ROWS", (2, 1 << 20))
    monkeypatch.setattr(day22, "VOCABULARIES", (300,))


def test_the_suite_measures_every_filter_that_fits(small_shapes):
    shapes = day22.run(CEILINGS)["shapes"]
    ran = [s for s in shapes if "not_run" not in s]
    assert [s["settings"] for s in ran] == list(day22.SETTINGS)
    assert len(shapes) == 2 * len(ran)
    for shape in ran:
        assert shape["bytes"] == 4 * 2 * 300 + 4 * 2
        assert "median_s" in shape["cupy"]
    table = tables.markdown(
        tables.TABLES["day22"],
        {"x": {"day22": {"command": "c", "date": "d", "machine": {"gpu": "g"}, "shapes": shapes}, **CEILINGS}},
    )
    assert "| top-k 50 | 2 × 300 | 1.0 ± 0.00 |" in table


def test_the_suite_refuses_tokens_that_were_filtered(small_shapes, monkeypatch):
    monkeypatch.setattr(day22, "cupy_sampling", lambda x, **_: x.argmin(axis=1))
    with pytest.raises(AssertionError, match=r"top-k 50, cupy.*not timed"):
        day22.run(CEILINGS)
