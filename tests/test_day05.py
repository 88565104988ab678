"""Day 5's solution by itself: bit for bit over shapes and launch shapes; which ids it refuses; what its page says."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import emulator
from engine import device
from grader import compare, oracles
from grader.curriculum import find
from tests import lessons

DAY = find("day05")
LESSON = lessons.load(DAY)
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOAT32 = np.dtype(np.float32)
INT32 = np.dtype(np.int32)


def numbers(seed: int, tokens: int, vocabulary: int, hidden: int, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    table = np.frombuffer(rng.bytes(vocabulary * hidden * dtype.itemsize), dtype).reshape(vocabulary, hidden)
    return rng.integers(0, vocabulary, tokens, dtype=np.int32), table


def assert_right(ids: np.ndarray, table: np.ndarray) -> None:
    result = compare.exact(lessons.answer(LESSON.embedding, ids, table), oracles.embedding(ids, table))
    assert result.right, (result.problem, result.rows)


@lessons.randomly(60)
@given(
    tokens=st.integers(0, 20),
    vocabulary=st.integers(1, 60),
    hidden=st.one_of(st.integers(0, 40), st.integers(0, 1100)),
    dtype=st.sampled_from([FLOAT32, BFLOAT16]),
    seed=st.integers(0, 2**32 - 1),
)
def test_right_for_any_shape(on, tokens, vocabulary, hidden, dtype, seed):
    assert_right(*numbers(seed, tokens, vocabulary, hidden, dtype))


@pytest.mark.parametrize("threads", [1, 32, 100, 1024])
def test_right_for_any_block(on, threads, monkeypatch):
    monkeypatch.setattr(LESSON, "THREADS", threads)
    assert_right(*numbers(threads, 7, 20, 700, BFLOAT16))


@pytest.mark.gpu
def test_rows_past_two_billion_elements(gpu_with):
    """The offset of a row passes 2^31: computed in int, it would wrap."""
    import cupy

    vocabulary, hidden = 2**20 + 3, 2048
    gpu_with(2 * vocabulary * hidden * 2)
    table = cupy.zeros((vocabulary, hidden), np.uint16)
    table[-1] = cupy.arange(hidden, dtype=np.uint16)
    out = LESSON.embedding(LESSON.token_ids([vocabulary - 1, 0], vocabulary), table.view(BFLOAT16))
    np.testing.assert_array_equal(device.to_host(out).view(np.uint16)[0], np.arange(hidden, dtype=np.uint16))


IDS, TABLE = numbers(5, 4, 8, 16, FLOAT32)
BAD = {
    "ids int64": (IDS.astype(np.int64), TABLE, "ids is int64: expected int32"),
    "ids a list": ([1, 2], TABLE, r"ids is a list: expected an array \[tokens\]"),
    "table a vector": (IDS, TABLE[0], r"table has shape \(16,\): expected \[vocabulary, hidden\]"),
    "table float16": (IDS, np.zeros((8, 16), np.float16), "table is float16: expected float32 or bfloat16"),
    "columns of a wider table": (IDS, TABLE[:, :8], r"table has strides \(64, 4\): expected a C-contiguous"),
    "too many tokens": (lessons.huge(INT32, 2**31), TABLE, "expected at most 2147483647 tokens"),
    "too many columns": (IDS, lessons.huge(FLOAT32, 1, 2**31), "expected at most 2147483392 columns"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused(on_cpu, name):
    ids, table, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        LESSON.embedding(ids, table)


WRONG_IDS = {
    "as large as the vocabulary": ([3, 515, 600], r"ids\[1\] is 515: expected 0 to 514, a vocabulary of 515"),
    "negative": ([0, 1, -1], r"ids\[2\] is -1: expected 0 to 514"),
    "past 32 bits": ([2**32 + 7], rf"ids\[0\] is {2**32 + 7}: expected 0 to 514"),
    "past 63 bits": ([2**63 + 7], rf"ids\[0\] is {2**63 + 7}: expected 0 to 514"),
    "past 64 bits": ([2**64], r"ids has shape \(1,\), object: expected \[tokens\], whole numbers of 64 bits"),
    "floats": ([1.0], "float64: expected"),
    "booleans": ([True], "bool: expected"),
    "a matrix": ([[1, 2]], r"ids has shape \(1, 2\)"),
    "a single number": (3, r"ids has shape \(\)"),
}


@pytest.mark.parametrize("name", WRONG_IDS)
def test_wrong_ids_are_refused(on_cpu, name):
    ids, message = WRONG_IDS[name]
    with pytest.raises(ValueError, match=message):
        LESSON.token_ids(ids, 515)


@pytest.mark.parametrize(
    "ids", [[], [0, 514], (7, 7), np.array([3, 514], np.uint16), np.array([1], np.int64)], ids=repr
)
def test_ids_come_to_the_device(on, ids):
    got = LESSON.token_ids(ids, 515)
    assert got.dtype == np.int32
    assert type(got).__module__.split(".")[0] == device.xp.__name__
    assert device.to_host(got).tolist() == list(ids)


@pytest.mark.parametrize("dtype", [FLOAT32, BFLOAT16], ids=str)
@pytest.mark.parametrize("hidden", [1, 33, 257, 1000])
def test_checker_finds_nothing(on_cpu, hidden, dtype):
    device.select("cpu", check=emulator.Checks(schedules=6, outputs=("out",)))
    assert_right(*numbers(6, 5, 10, hidden, dtype))


def test_a_row_is_read_once_and_written_once(on_cpu):
    ids, table = numbers(7, 3, 10, 2048, BFLOAT16)
    costs = lessons.costs_of(assert_right, ids, table)
    id_of_each_warp = 32 * 8 * len(ids)
    assert costs.global_bytes == 2 * len(ids) * table[0].nbytes + id_of_each_warp


# ---- files and the page -----------------------------------------------------------------------------------------------


def test_the_engines_kernel_is_the_solutions_kernel():
    assert (DAY.solution / "kernel.cu").samefile(device.KERNELS / "embedding.cu")


def test_worked_example_of_the_columns():
    columns = [int(c) for c in lessons.example_row(DAY, "column")]
    assert columns == list(range(6))
    assert lessons.example_row(DAY, "thread") == [c % 4 for c in columns]


def test_numbers_on_the_page():
    text = (DAY.lesson / "README.md").read_text()
    assert f"49,152 · 576 · 2 = {49152 * 576 * 2:,} bytes" in text
    assert f"to keep {576 * 2:,}" in text
    assert 131_072 * 16_384 == 2**31
