"""What the suites of days 13 and 14 measure and refuse: NumPy plays CuPy, solutions run in the emulator, times are made up."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import kernel_peers, tables
from benchmarks.suites import day13, day14, day20
from grader import budget, oracles
from tests.fakes import CEILINGS, TIME


@pytest.fixture(autouse=True)
def small_shapes(numpy_as_cupy, monkeypatch):
    monkeypatch.setattr(day13, "TOKENS", (5, 1 << 20))
    monkeypatch.setattr(day14, "QUERIES_KEYS", ((1, 7), (4, 4)))
    monkeypatch.setattr(day20, "KEYS", (7,))


def test_day13_measures_every_shape_that_fits():
    first, second = day13.run(CEILINGS)["shapes"]
    assert first["tokens"] == 5
    assert first["score_bytes"] == 4 * 32 * 25
    assert first["operations"] == 4 * 64 * 32 * (1 + 2 + 3 + 4 + 5)
    assert first["operations_per_s"] == pytest.approx(first["operations"] / 1e-6)
    assert first["cupy"]["operations_per_s"] == first["operations_per_s"]
    assert 0 < first["share_of_budget"] <= 1
    assert "memory are needed" in second["not_run"]


def test_day14_measures_prompts_and_single_tokens():
    shapes = day14.run(CEILINGS)["shapes"]
    assert [(s["tokens"], s["length"], s["heads"], s["kv_heads"]) for s in shapes] == [
        (1, 7, 9, 3), (4, 4, 9, 3), (1, 7, 32, 8), (4, 4, 32, 8),
    ]  # fmt: skip
    assert shapes[0]["bytes"] == 4 * 64 * (2 * 9 + 2 * 7 * 3)
    assert shapes[0]["operations"] == 4 * 64 * 9 * 7
    assert all(0 < s["share_of_budget"] <= 1 for s in shapes)
    assert all("median_s" in s["cupy"] for s in shapes)


def test_day20_measures_day_14_beside_itself():
    shapes = day20.run(CEILINGS)["shapes"]
    assert [(s["tokens"], s["length"], s["heads"], s["kv_heads"]) for s in shapes] == [(1, 7, 9, 3), (1, 7, 32, 8)]
    assert all(0 < s["share_of_budget"] <= 1 and s["day14"]["bytes_per_s"] > 0 for s in shapes)
    records = {"day20": {"shapes": shapes}, "ceilings": {"read": {"bytes_per_s": 4e12}}}
    head, rows, _ = tables.TABLES["day20"].render(records)
    assert [len(row) for row in rows] == [len(head)] * 2
    assert rows[0][:2] == ["7", "9 on 3"]


def test_a_peer_that_computes_something_else_is_refused(monkeypatch):
    monkeypatch.setattr(day13, "cupy_expression", lambda q, k, v: v)
    with pytest.raises(AssertionError, match=r"5 queries.*cupy.*not timed"):
        day13.run(CEILINGS)


def test_only_some_queries_are_checked_and_these_whole():
    rng = np.random.default_rng(1)
    arrays = tuple(rng.standard_normal(shape).astype(np.float32) for shape in ((20, 4, 8), (30, 2, 8), (30, 2, 8)))
    sample = np.array([0, 7, 19])
    expected, allowed = day13.right(arrays, sample)
    np.testing.assert_array_equal(expected, oracles.attention(*arrays)[sample])
    np.testing.assert_allclose(allowed, budget.attention(*arrays).absolute[sample])


def test_tables():
    shape = {
        "tokens": 2048,
        "length": 4096,
        "heads": 32,
        "kv_heads": 8,
        "score_bytes": 512 << 20,
        "share_of_read": 0.25,
    }
    shape |= {**TIME, "operations_per_s": 1.234e12, "torch": {"operations_per_s": 2e13}}
    records = {
        "day13": {"shapes": [shape, {"not_run": "too large"}]},
        "day14": {"shapes": [shape]},
        "ceilings": {"read": {"bytes_per_s": 4e12}},
    }
    _, rows, _ = tables.day13(records)
    assert rows == [["2,048", "512", "1.0 ± 0.00", "1.23", "NOT RUN", "20"]]
    _, rows, note = tables.day14(records)
    assert rows == [["2,048 × 4,096", "32 on 8", "1.0 ± 0.00", "1.23", "25.0 %", "NOT RUN", "20"]]
    assert "4.00 TB/s" in note


def test_cublas_is_timed_outside_a_graph(monkeypatch):
    def refused(_calls):
        raise RuntimeError("calling cuBLAS API during stream capture is currently unsupported")

    def broken(_calls):
        raise RuntimeError("out of memory")

    ran = []
    monkeypatch.setattr(kernel_peers, "times_in_graph", refused)
    monkeypatch.setattr(kernel_peers, "times_of", lambda call: [call() for _ in range(5)] and TIME)
    assert kernel_peers.times_in_graph_or_turn([lambda: ran.append(1), lambda: ran.append(2)]) == TIME
    assert ran == [1, 2, 1, 2, 1]
    monkeypatch.setattr(kernel_peers, "times_in_graph", broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        kernel_peers.times_in_graph_or_turn([lambda: None])
