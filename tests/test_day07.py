"""Day 7's solution by itself: against float64, over shapes, launch shapes and special values; and what its pages say."""

from __future__ import annotations

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

DAY = find("day07")
LESSON = lessons.load(DAY)
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOAT32 = np.dtype(np.float32)
EPS = 1e-5


def numbers(seed: int, rows: int, hidden: int, dtype: np.dtype, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    sizes = scale * 2.0 ** rng.uniform(-2, 2, (rows, 1))
    x = rng.standard_normal((rows, hidden)) * sizes
    return x.astype(dtype), (1 + 0.5 * rng.standard_normal(hidden)).astype(dtype)


def run(x: np.ndarray, weight: np.ndarray, eps: float = EPS) -> np.ndarray:
    return lessons.answer(LESSON.rmsnorm, x, weight, eps)


def assert_right(x: np.ndarray, weight: np.ndarray, eps: float = EPS) -> None:
    result = compare.compare(
        run(x, weight, eps), oracles.rmsnorm(x, weight, eps), x.dtype, budget.rmsnorm(x, weight, eps)
    )
    assert result.right, (result.problem, result.rows)


# ---- numbers ----------------------------------------------------------------------------------------------------------


@lessons.randomly(60)
@given(
    rows=st.integers(0, 5),
    hidden=st.one_of(st.integers(1, 40), st.integers(1, 2100)),
    dtype=st.sampled_from([FLOAT32, BFLOAT16]),
    exponent=st.integers(-30, 15),  # below 1.2e-38 CuPy's kernels flush to zero: it compiles with -ftz=true
    eps=st.sampled_from([1e-5, 1e-6]),
    seed=st.integers(0, 2**32 - 1),
)
def test_right_for_any_shape_and_size(on, rows, hidden, dtype, exponent, eps, seed):
    assert_right(*numbers(seed, rows, hidden, dtype, 10.0**exponent), eps)


@pytest.mark.parametrize("threads", [32, 64, 96, 512, 1024])
@pytest.mark.parametrize("hidden", [1, 31, 1000, 2048])
def test_right_for_any_block(on, threads, hidden, monkeypatch):
    monkeypatch.setattr(LESSON, "THREADS", threads)
    assert_right(*numbers(threads, 3, hidden, FLOAT32))


@pytest.mark.parametrize("dtype", [FLOAT32, BFLOAT16], ids=str)
def test_no_rows(on, dtype, monkeypatch):
    monkeypatch.setattr(LESSON, "rmsnorm_kernel", lambda _: pytest.fail("there is nothing to launch"))
    out = run(*numbers(1, 0, 64, dtype))
    assert out.shape == (0, 64)
    assert out.dtype == dtype


@pytest.mark.parametrize("dtype", [FLOAT32, BFLOAT16], ids=str)
def test_special_values_stay_in_their_row(on, dtype):
    x, weight = numbers(2, 4, 100, dtype)
    x[0, 7] = np.nan
    x[1, 8] = np.inf
    x[2] = 0
    out = run(x, weight).astype(np.float64)
    assert np.isnan(out[0]).all()
    assert np.isnan(out[1, 8])  # infinity over infinity
    assert (np.delete(out[1], 8) == 0).all()
    assert (out[2] == 0).all()
    assert_right(x[3:], weight)


@pytest.mark.gpu
def test_rows_past_two_billion_elements(gpu_with):
    """The offset of a row passes 2^31: computed in int, it would wrap."""
    import cupy

    rows, hidden = 2**20 + 3, 2048
    gpu_with(3 * rows * hidden * 2)
    last, weight = numbers(3, 3, hidden, BFLOAT16)
    x = cupy.ones((rows, hidden), BFLOAT16)
    x[-3:] = cupy.asarray(last)
    out = LESSON.rmsnorm(x, cupy.asarray(weight), EPS)[-3:].get()
    result = compare.compare(out, oracles.rmsnorm(last, weight, EPS), BFLOAT16, budget.rmsnorm(last, weight, EPS))
    assert result.right, (result.problem, result.rows)


def test_rounding_before_the_weight_breaks_the_budget():
    """What the page says of Hugging Face's LlamaRMSNorm: one rounding more does not fit."""
    x, weight = numbers(4, 64, 2048, BFLOAT16)
    exact = x.astype(np.float64)
    normalised = exact / np.sqrt((exact * exact).mean(axis=1, keepdims=True) + EPS)
    twice = (normalised.astype(BFLOAT16).astype(np.float32) * weight.astype(np.float32)).astype(BFLOAT16)
    once = oracles.rmsnorm(x, weight, EPS).astype(np.float32).astype(BFLOAT16)
    allowed = budget.rmsnorm(x, weight, EPS)
    assert compare.compare(once, oracles.rmsnorm(x, weight, EPS), BFLOAT16, allowed).right
    share = compare.compare(twice, oracles.rmsnorm(x, weight, EPS), BFLOAT16, allowed).share
    assert 1.5 < share <= 2.01


# ---- bad input ----------------------------------------------------------------------------------------------------------

X, WEIGHT = numbers(5, 4, 64, FLOAT32)
BAD = {
    "one dimension": (X[0], WEIGHT, r"x has shape \(64,\): expected \[rows, hidden\]"),
    "three dimensions": (X[None], WEIGHT, r"x has shape \(1, 4, 64\): expected \[rows, hidden\]"),
    "no columns": (X[:, :0], WEIGHT[:0], r"x has shape \(4, 0\): expected .* at least 1"),
    "float64": (X.astype(np.float64), WEIGHT.astype(np.float64), "x is float64: expected float32 or bfloat16"),
    "float16": (X.astype(np.float16), WEIGHT.astype(np.float16), "x is float16: expected float32 or bfloat16"),
    "int32": (X.astype(np.int32), WEIGHT.astype(np.int32), "x is int32: expected float32 or bfloat16"),
    "weight too short": (X, WEIGHT[:-1], r"weight has shape \(63,\): expected \[64\]"),
    "weight too long": (X[:, :63].copy(), WEIGHT, r"weight has shape \(64,\): expected \[63\]"),
    "weight a matrix": (X, WEIGHT[None], r"weight has shape \(1, 64\): expected \[64\]"),
    "weight of another dtype": (X, WEIGHT.astype(BFLOAT16), "weight is bfloat16: expected float32"),
    "columns of a wider array": (X[:, :32], WEIGHT[:32], r"x has strides \(256, 4\): expected a C-contiguous"),
    "transposed": (X.T, X[0, :4].copy(), r"x has strides \(4, 256\): expected a C-contiguous"),
    "every second weight": (X[:, :32].copy(), WEIGHT[::2], r"weight has strides \(8,\): expected a C-contiguous"),
    "too many rows": (np.broadcast_to(X[:1, :1], (2**31, 1)), WEIGHT[:1], "expected at most 2147483647 rows"),
    "too many columns": (np.broadcast_to(X[:1, :1], (1, 2**31)), WEIGHT[:1], "and 2147483392 columns"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused(on_cpu, name):
    x, weight, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        LESSON.rmsnorm(x, weight, EPS)


# ---- safety and cost ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [FLOAT32, BFLOAT16], ids=str)
@pytest.mark.parametrize("hidden", [1, 33, 257, 1000])
def test_checker_finds_nothing(on_cpu, hidden, dtype):
    device.select("cpu", check=emulator.Checks(schedules=6, outputs=("out",)))
    assert_right(*numbers(6, 2, hidden, dtype))


@pytest.mark.parametrize("dtype", [FLOAT32, BFLOAT16], ids=str)
def test_loads_and_stores_waste_no_byte(on_cpu, dtype):
    """One launch, one barrier a block; the row twice, the weight and the result once, in whole sectors."""
    x, weight = numbers(7, 3, 2048, dtype)
    costs = lessons.costs_of(run, x, weight)
    assert costs.global_bytes == 3 * x.nbytes + 3 * weight.nbytes
    assert costs.barriers == 3
    assert costs.bank_conflicts == 0


# ---- files and pages --------------------------------------------------------------------------------------------------------


def test_the_engines_kernel_is_the_solutions_kernel():
    assert (DAY.solution / "kernel.cu").samefile(device.KERNELS / "rmsnorm.cu")


def example_row(label: str) -> list[float]:
    return lessons.example_row(DAY, label)


def test_worked_example(on):
    x = example_row("x")
    assert len(x) == 8
    assert example_row("thread") == [i % 4 for i in range(8)]
    squares = [v * v for v in x]
    assert example_row("squares") == squares
    sums = [squares[t] + squares[t + 4] for t in range(4)]
    assert example_row("each thread's sum") == sums
    assert example_row("block sum") == [sum(sums)]
    mean = sum(sums) / 8
    assert example_row("mean") == [mean]
    assert example_row("root") == [round(mean**0.5, 3)]
    out = run(np.array([x], FLOAT32), np.ones(8, FLOAT32), 0.0)[0]
    assert example_row("out") == [round(float(v), 3) for v in out]
