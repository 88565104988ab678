"""Days 13 and 14 by themselves: against float64, over shapes; causality bit for bit; what their pages say."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

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

NAIVE, GROUPED = find("day13"), find("day14")
DAY13, DAY14 = lessons.load(NAIVE), lessons.load(GROUPED)
FLOAT32 = np.dtype(np.float32)
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]
both = pytest.mark.parametrize("function", [DAY13.causal_attention, DAY14.attention], ids=["day13", "day14"])
randomly = lessons.randomly(40)


def numbers(
    seed: int, tokens: int, length: int, heads: int, kv_heads: int, head_dim: int, scale: float = 2.0
) -> Arrays:
    rng = np.random.default_rng(seed)
    shapes = (tokens, heads, head_dim), (length, kv_heads, head_dim), (length, kv_heads, head_dim)
    q, k, v = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    return q * np.float32(scale), k, v


def judged(got: np.ndarray, arrays: Arrays) -> compare.Comparison:
    return compare.compare(got, oracles.attention(*arrays), FLOAT32, budget.attention(*arrays))


def assert_right(function: Callable[..., Any], arrays: Arrays) -> None:
    result = judged(lessons.answer(function, *arrays), arrays)
    assert result.right, (result.problem, result.rows)


# ---- numbers ----------------------------------------------------------------------------------------------------------


@randomly
@given(
    tokens=st.integers(0, 40),
    heads=st.integers(1, 4),
    head_dim=st.one_of(st.integers(1, 40), st.integers(1, 300)),
    scale=st.sampled_from([0.0, 1.0, 30.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_day13_is_right_for_any_shape(on, tokens, heads, head_dim, scale, seed):
    assert_right(DAY13.causal_attention, numbers(seed, tokens, tokens, heads, heads, head_dim, scale))


@randomly
@given(
    tokens=st.integers(0, 20),
    before=st.one_of(st.just(0), st.integers(0, 300)),
    kv_heads=st.integers(1, 3),
    group=st.integers(1, 8),
    head_dim=st.one_of(st.integers(1, 40), st.integers(1, 256)),
    scale=st.sampled_from([0.0, 1.0, 30.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_day14_is_right_for_any_shape(on, tokens, before, kv_heads, group, head_dim, scale, seed):
    assert_right(DAY14.attention, numbers(seed, tokens, tokens + before, kv_heads * group, kv_heads, head_dim, scale))


@pytest.mark.parametrize("threads", [32, 64, 1024])
def test_right_for_any_block(on, threads, monkeypatch):
    for lesson, function in ((DAY13, "causal_attention"), (DAY14, "attention")):
        monkeypatch.setattr(lesson, "THREADS", threads)
        for tokens in (1, 33, 40):
            assert_right(getattr(lesson, function), numbers(threads, tokens, tokens, 2, 2, 70))


@both
def test_later_tokens_change_no_bit_of_earlier_rows(on, function):
    arrays = numbers(1, 50, 50, 2, 2, 40)
    before = lessons.answer(function, *arrays)
    for cut in (1, 31, 32, 49):
        changed = [a.copy() for a in arrays]
        for array, new in zip(changed, numbers(cut, 50, 50, 2, 2, 40, 100.0), strict=True):
            array[cut:] = new[cut:]
        after = lessons.answer(function, *changed)
        assert after[:cut].tobytes() == before[:cut].tobytes()
        assert (after[cut:] != before[cut:]).any(axis=(1, 2)).all()


def test_one_query_against_the_cache_is_the_last_row_of_the_prompt(on):
    q, k, v = numbers(2, 45, 45, 6, 2, 64)
    whole = lessons.answer(DAY14.attention, q, k, v)
    for first in (44, 40, 13):
        assert lessons.answer(DAY14.attention, q[first:], k, v).tobytes() == whole[first:].tobytes()


@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 1), (6, 2), (9, 3)])
def test_sharing_is_the_same_as_repeating(on, heads, kv_heads):
    q, k, v = numbers(3, 20, 33, heads, kv_heads, 64)
    repeated = (np.repeat(array, heads // kv_heads, axis=1) for array in (k, v))
    assert lessons.answer(DAY14.attention, q, k, v).tobytes() == lessons.answer(DAY14.attention, q, *repeated).tobytes()


def test_a_nan_stays_where_it_is_seen(on):
    q, k, v = numbers(4, 30, 30, 4, 2, 32)
    k[10, 1, 3] = np.nan
    for function, arrays in (
        (DAY14.attention, (q, k, v)),
        (DAY13.causal_attention, (q, np.repeat(k, 2, axis=1), np.repeat(v, 2, axis=1))),
    ):
        wrong = np.isnan(lessons.answer(function, *arrays))
        assert wrong[10:, 2:].all()
        assert not wrong[:10].any()
        assert not wrong[:, :2].any()


@pytest.mark.parametrize("what", ["scores", "weights", "values"])
@pytest.mark.parametrize("scale", [1.0, 8.0])
def test_the_next_lower_precision_breaks_the_budget(what, scale):
    arrays = numbers(5, 33, 33, 3, 3, 64, scale)
    low = {"scores": FLOAT32, "weights": FLOAT32, "values": FLOAT32} | {what: np.dtype(ml_dtypes.bfloat16)}
    q, k, v = arrays
    out = np.empty_like(q)
    for i in range(len(q)):
        scores = (np.einsum("hd,jhd->hj", q[i], k[: i + 1]) / np.float32(8)).astype(low["scores"]).astype(np.float32)
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        weights = (weights / weights.sum(axis=1, keepdims=True)).astype(low["weights"]).astype(np.float32)
        out[i] = np.einsum("hj,jhd->hd", weights, v[: i + 1].astype(low["values"]).astype(np.float32))
    assert judged(out, arrays).share > 5


# ---- room -------------------------------------------------------------------------------------------------------------


def test_the_longest_cache_that_fits(on):
    longest = DAY14.longest(1)
    assert on != "cpu" or DAY14.longest(64) == 57_056  # as the solution's page says
    assert_right(DAY14.attention, numbers(6, 1, longest, 1, 1, 1))
    with pytest.raises(ValueError, match=rf"k has {longest + 1} tokens: expected at most {longest}, .* shared memory"):
        lessons.answer(DAY14.attention, *numbers(6, 1, longest + 1, 1, 1, 1))


def test_the_kernels_other_arrays_are_counted(on_cpu):
    """`longest` against the declarations."""
    text = (GROUPED.solution / "kernel.cu").read_text()
    declared = re.findall(r"^  __shared__ float (\w+\[.*\]);", text, re.MULTILINE)
    assert declared == ["largest_of[WARPS]", "sum_of[WARPS]", "share_of[WARPS][COLUMNS * 32]"]
    for head_dim, columns in ((1, 1), (64, 2), (65, 3), (256, 8)):
        warps = DAY14.THREADS // 32
        assert 4 * (DAY14.longest(head_dim) + warps * (2 + columns * 32)) == 227 << 10


@pytest.mark.gpu
def test_offsets_past_two_billion(gpu_with):
    """K's last rows, and the scores' last head, lie past 2^31 elements: an int would wrap."""
    import cupy

    gpu_with(2.5 * 4 * (2**31 + 2**29))
    length, kv_heads, head_dim = 40_000, 256, 256
    q, k, v = numbers(7, 1, length, 1, 1, head_dim)
    wide_k, wide_v = (cupy.zeros((length, kv_heads, head_dim), np.float32) for _ in range(2))
    wide_q = cupy.zeros((1, kv_heads, head_dim), np.float32)
    for wide, array in ((wide_q, q), (wide_k, k), (wide_v, v)):
        wide[:, -1] = cupy.asarray(array[:, 0])
    out = DAY14.attention(wide_q, wide_k, wide_v)[:, -1:].get()
    assert judged(out, (q, k, v)).right
    del wide_k, wide_v
    cupy.get_default_memory_pool().free_all_blocks()
    tokens, heads = 16_384, 10  # scores: 2.5 · 2^30
    q, k, v = (cupy.zeros((tokens, heads, 8), np.float32) for _ in range(3))
    last = numbers(8, tokens, tokens, 1, 1, 8)
    for wide, array in zip((q, k, v), last, strict=True):
        wide[:, -1] = cupy.asarray(array[:, 0])
    out = DAY13.causal_attention(q, k, v)[-3:, -1:].get()
    assert judged(out, (last[0][-3:], last[1], last[2])).right


# ---- bad input ----------------------------------------------------------------------------------------------------------

Q, K, V = numbers(9, 4, 6, 4, 2, 8)
BAD = {
    "two dimensions": (Q[0], K, V, r"q has shape \(4, 8\): expected \[tokens, heads, head_dim\]"),
    "no heads": (Q[:, :0], K, V, "expected at most .* 1 to 65535 heads"),
    "no columns": (Q[..., :0], K[..., :0], V[..., :0], "1 to 256 columns of a head"),
    "wide heads": (np.zeros((1, 1, 257), np.float32), K, V, "1 to 256 columns of a head"),
    "bfloat16": (Q.astype(ml_dtypes.bfloat16), K, V, "q is bfloat16: expected float32"),
    "not contiguous": (Q, K[:, :, ::-1], V, "k has strides"),
    "another head_dim": (Q, K[..., :4].copy(), V, r"k has shape \(6, 2, 4\): expected \[length, kv_heads, 8\]"),
    "no KV heads": (Q, K[:, :0], V[:, :0], "k has 0 heads: expected a number that divides q's 4"),
    "no group": (Q, np.repeat(K, 3, 1)[:, :3].copy(), V, "k has 3 heads: expected a number that divides q's 4"),
    "more KV heads than heads": (Q, np.repeat(K, 4, 1), V, "k has 8 heads: expected a number that divides q's 4"),
    "fewer keys": (Q, K[:3], V[:3], "k has 3 tokens: expected at least q's 4"),
    "values shorter": (Q, K, V[1:], r"v has shape \(5, 2, 8\): expected \[6, 2, 8\]"),
    "not an array": (Q, K, None, r"v is a NoneType: expected an array \[6, 2, 8\]"),
    "too many queries": (lessons.huge(FLOAT32, 2**31, 1, 8), K, V, "expected at most 2147483647 tokens"),
}


@pytest.mark.parametrize("name", BAD)
def test_day14_refuses_bad_input(on_cpu, name):
    *arrays, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        DAY14.attention(*arrays)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ((Q, K, V), r"k has shape \(6, 2, 8\): expected \[4, 4, 8\]"),
        ((Q, Q, V), r"v has shape \(6, 2, 8\): expected \[4, 4, 8\]"),
        ((Q[..., :0], Q, Q), r"q has shape \(4, 4, 0\): expected .* at least 1 column"),
        ((Q.astype(np.float64), Q, Q), "q is float64: expected float32"),
    ],
)
def test_day13_refuses_bad_input(on_cpu, arrays, message):
    with pytest.raises(ValueError, match=message):
        DAY13.causal_attention(*arrays)


# ---- safety and cost ------------------------------------------------------------------------------------------------------


def test_checker_finds_nothing(on_cpu):
    outputs = ("attention:out", "attention_scores:scores", "weighted_sums:out")
    device.select("cpu", check=emulator.Checks(schedules=6, outputs=outputs))
    for tokens, head_dim in ((1, 1), (5, 33), (34, 64)):
        assert_right(DAY13.causal_attention, numbers(10, tokens, tokens, 2, 2, head_dim))
        assert_right(DAY14.attention, numbers(10, tokens, tokens + 3, 4, 2, head_dim))


def test_what_the_pages_say_of_costs(on_cpu):
    q, k, v = numbers(11, 64, 64, 1, 1, 32)
    launched = lessons.launches(lessons.answer, DAY13.causal_attention, q, k, v)
    naive = dict(launched)
    assert [name for name, _ in launched] == ["attention_scores", "softmax_rows", "weighted_sums"]
    assert naive["softmax_rows"].global_bytes == 5 * DAY13.score_bytes(64, 1)
    assert naive["softmax_rows"].barriers == 3 * 64  # two of them in the reductions
    grouped = lessons.costs_of(lessons.answer, DAY14.attention, q, k, v)
    keys = 64 * 65 // 2
    warps = DAY14.THREADS // 32  # each reads the query; and every query reads its keys and values anew
    assert grouped.global_bytes == (warps + 1) * q.nbytes + 2 * keys * 32 * 4
    assert grouped.barriers == 3 * 64
    assert grouped.bank_conflicts == 0


# ---- the pages --------------------------------------------------------------------------------------------------------


def test_worked_example_of_day_13(on):
    row = lessons.example_row
    q, k, v = np.zeros((4, 1, 4), np.float32), np.zeros((4, 1, 4), np.float32), np.zeros((4, 1, 4), np.float32)
    q[2, 0] = row(NAIVE, "query")
    k[:, 0] = [row(NAIVE, f"key {j}") for j in range(4)]
    v[:, 0, 0] = row(NAIVE, "values")
    products = (k[:3, 0] @ q[2, 0]).tolist()
    assert row(NAIVE, "products") == products
    scores = [p / math.sqrt(4) for p in products]
    assert row(NAIVE, "scores") == scores
    powers = [math.exp(s - max(scores)) for s in scores]
    assert row(NAIVE, "exponentials") == [*(round(p, 3) for p in powers), 0]
    assert row(NAIVE, "weights") == [*(round(p / sum(powers), 3) for p in powers), 0]
    (result,) = row(NAIVE, "result")
    for function in (DAY13.causal_attention, DAY14.attention):
        assert round(float(lessons.answer(function, q, k, v)[2, 0, 0]), 3) == result


def test_worked_example_of_day_14():
    row = lessons.example_row
    warps, scores, values = (row(GROUPED, label) for label in ("warp", "scores", "values"))
    assert scores == row(NAIVE, "scores")
    assert values == row(NAIVE, "values")[:3]
    own = [[j for j in range(3) if warps[j] == w] for w in (0, 1)]
    assert row(GROUPED, "largest") == [max(scores[j] for j in keys) for keys in own]
    powers = [math.exp(s - max(scores)) for s in scores]
    assert row(GROUPED, "exponentials") == [round(p, 3) for p in powers]
    shares = [sum(powers[j] * values[j] for j in keys) for keys in own]
    sums = [sum(powers[j] for j in keys) for keys in own]
    assert row(GROUPED, "shares") == [round(s, 3) for s in shares]
    assert row(GROUPED, "sums") == [round(s, 3) for s in sums]
    assert row(GROUPED, "result") == row(NAIVE, "result") == [round(sum(shares) / sum(sums), 3)]


def test_sizes_that_the_pages_name():
    assert DAY13.score_bytes(2048, 32) == 512 << 20
    assert 4 * 2048 * 32 * 64 == 16 << 20
    assert 2 * 32 * 64 * 16 * 4 == 256 << 10  # K and V of a token without groups
    assert 2 * 8 * 64 * 16 * 4 == 64 << 10
    assert DAY13.score_bytes(131_072, 32) == 2 << 40
