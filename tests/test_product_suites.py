"""What the suites of days 8 to 10 measure and refuse: NumPy plays CuPy, solutions run in the emulator, times are made up."""

from __future__ import annotations

import types

import numpy as np
import pytest

from benchmarks import kernel_peers, products, tables
from benchmarks.suites import day08, day09, day10
from tests.fakes import CEILINGS, TIME

SMALL = ((3, 10, 20), (1 << 20, 1 << 20, 8))  # the second needs more memory than there is


@pytest.fixture(autouse=True)
def small_shapes(numpy_as_cupy, monkeypatch):
    monkeypatch.setattr(day08, "SHAPES", ((10, 20), (1 << 20, 1 << 10)))
    monkeypatch.setattr(products, "SHAPES", SMALL)


def test_day08_measures_bytes():
    first, second = day08.run(CEILINGS)["shapes"]
    assert first["bytes"] == 2 * 10 * 20 + 4 * 20 + 4 * 10
    assert first["bytes_per_s"] == pytest.approx(first["bytes"] / 1e-6)
    assert first["share_of_read"] == pytest.approx(first["bytes"] / 2e6)
    assert 0 <= first["share_of_budget"] <= 1
    assert first["cupy"]["bytes_per_s"] == first["bytes_per_s"]
    assert "memory are needed" in second["not_run"]


@pytest.mark.parametrize(("suite", "peer"), [(day09, "cupy"), (day10, "day09")])
def test_products_are_measured_in_operations(suite, peer):
    first, second = suite.run(CEILINGS)["shapes"]
    assert first["operations"] == 2 * 3 * 10 * 20
    assert first["operations_per_s"] == pytest.approx(first["operations"] / 1e-6)
    assert first[peer]["operations_per_s"] == first["operations_per_s"]
    assert 0 <= first["share_of_budget"] <= 1
    assert "memory are needed" in second["not_run"]


@pytest.mark.parametrize("suite", [day08, day09, day10])
def test_a_wrong_answer_is_not_timed(suite, monkeypatch):
    monkeypatch.setattr(kernel_peers, "times_in_graph", lambda _calls: pytest.fail("it was timed"))
    function = {day08: "matvec", day09: "matmul", day10: "tensor_core_matmul"}[suite]
    lesson = types.SimpleNamespace(THREADS=1, TILE=1, matmul=None)
    setattr(lesson, function, lambda x, weight: np.zeros((*x.shape[:-1], len(weight)), np.float32))
    monkeypatch.setattr(suite, "Lesson", lambda _folder: types.SimpleNamespace(module=lesson))
    with pytest.raises(AssertionError, match=r"the solution.*not timed"):
        suite.run(CEILINGS)


def test_a_peer_may_round_to_bfloat16_and_we_may_not():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((4, 64)).astype(products.BFLOAT16)
    weight = rng.standard_normal((8, 64)).astype(products.BFLOAT16)
    check = products.check_of(x, weight, products.budget.tensor_core_product)
    exact = products.oracles.product(x, weight)
    rounded = exact.astype(products.BFLOAT16)
    assert check(exact.astype(np.float32), 1.0).right
    assert not check(rounded.astype(np.float32), 1.0).right
    assert check(rounded, kernel_peers.PEERS_MAY_BE_OFF).right
    assert not check(rounded * 2, kernel_peers.PEERS_MAY_BE_OFF).right


def test_tables():
    shape = {"tokens": 16, "rows": 1536, "columns": 576, "operations_per_s": 1.2e14, **TIME}
    record = {
        "command": "python benchmarks/gpu.py", "date": "2026-01-31", "machine": {"gpu": "X1", "cpu": "c", "cores": 2},
        "shapes": [{**shape, "day09": {"operations_per_s": 2e13}}, {**shape, "not_run": "too large"}],
    }  # fmt: skip
    text = tables.markdown(tables.TABLES["day10"], {"x1": {"day10": record}})
    assert "| 16 × 1,536 × 576 | 1.0 ± 0.00 | 120 | 20 | NOT RUN | 6.0 × |" in text
    assert "NOT RUN: 1 shapes" in text
    text = tables.markdown(tables.TABLES["day09"], {"x1": {"day09": record}})
    assert "| 16 × 1,536 × 576 | 1.0 ± 0.00 | 120 | NOT RUN | NOT RUN |" in text
