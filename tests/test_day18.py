"""Day 18's solution by itself: against NumPy, over shapes, launch shapes and special values; and what its page says."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import emulator
from engine import device
from grader import compare, oracles
from grader.curriculum import find
from tests import lessons

DAY = find("day18")
LESSON = lessons.load(DAY)
SPECIAL = np.array([0.0, -0.0, np.inf, -np.inf, 1e-45, -1e-45, 3.4e38, -3.4e38, 1.0, -1.0], np.float32)


def assert_right(logits: np.ndarray) -> None:
    result = compare.exact(lessons.answer(LESSON.largest_indices, logits), oracles.largest_indices(logits))
    assert result.right, (result.problem, result.rows)


@lessons.randomly(60)
@given(
    rows=st.integers(0, 5),
    vocab=st.one_of(st.integers(1, 40), st.integers(1, 5000)),
    kind=st.sampled_from(["normal", "bits", "few"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_right_for_any_shape_and_any_bits(on, rows, vocab, kind, seed):
    rng = np.random.default_rng(seed)
    if kind == "bits":  # every float there is, NaN among them
        x = np.frombuffer(rng.bytes(4 * rows * vocab), np.float32).reshape(rows, vocab)
    else:
        x = (
            rng.standard_normal((rows, vocab)).astype(np.float32)
            if kind == "normal"
            else rng.choice(SPECIAL, (rows, vocab))
        )
    assert_right(x)


@pytest.mark.parametrize(("threads", "part"), [(32, 1), (32, 1000), (96, 100), (1024, 1024), (256, 1 << 20)])
@pytest.mark.parametrize("vocab", [1, 33, 1000, 2048])
def test_right_for_any_block_and_part(on, threads, part, vocab, monkeypatch):
    monkeypatch.setattr(LESSON, "THREADS", threads)
    monkeypatch.setattr(LESSON, "PART", part)
    assert_right(np.random.default_rng(part).standard_normal((3, vocab)).astype(np.float32))


def test_keys_are_in_the_order_of_the_numbers(on):
    """A row of two numbers each: which one wins, by its bits alone."""
    rng = np.random.default_rng(5)
    bits = rng.integers(0, 2**32, (400, 2), dtype=np.uint32)
    x = np.concatenate([bits.view(np.float32), rng.choice(SPECIAL, (100, 2))])
    assert_right(x)


def test_a_row_with_nan_is_named_and_the_others_are_found(on):
    x = np.random.default_rng(0).standard_normal((5, 70)).astype(np.float32)
    assert lessons.answer(LESSON.argmax, x).tolist() == x.argmax(axis=1).tolist()
    x[[2, 4], 11] = np.nan
    with pytest.raises(ValueError, match=r"logits has a NaN in row 2:"):
        LESSON.argmax(device.to_device(x))
    assert lessons.answer(LESSON.largest_indices, x)[[2, 4]].tolist() == [-1, -1]


def test_what_a_grid_cannot_have_is_refused():
    for shape in ((65536, 10), (1, LESSON.MAX_VOCAB + 1)):
        with pytest.raises(ValueError, match="logits has shape"):
            LESSON.check_arguments(lessons.huge(np.dtype(np.float32), *shape))
    LESSON.check_arguments(lessons.huge(np.dtype(np.float32), 65535, LESSON.MAX_VOCAB))


@pytest.mark.gpu
def test_rows_past_two_billion_elements(gpu_with):
    """The offset of a row passes 2^31: computed in int, it would wrap."""
    import cupy

    rows, vocab = 2**14 + 3, 2**17
    gpu_with(2 * rows * vocab * 4)
    x = cupy.zeros((rows, vocab), np.float32)
    x[-1, -1] = x[-2, 5] = 1
    assert LESSON.argmax(x)[-3:].get().tolist() == [0, 5, vocab - 1]


@pytest.mark.parametrize("vocab", [1, 33, 257, 2100])
def test_checker_finds_nothing(on_cpu, vocab):
    device.select("cpu", check=emulator.Checks(schedules=6, outputs=("argmax_parts:keys", "argmax_merge:out")))
    assert_right(np.random.default_rng(vocab).standard_normal((2, vocab)).astype(np.float32))


def test_worked_example(on):
    spec = (DAY.lesson / "README.md").read_text()

    def row(label: str) -> str:
        found = re.search(rf"^    {label} +(.*)$", spec, re.MULTILINE)
        assert found, label
        return found[1]

    numbers = np.array([float(n.replace("∞", "inf")) for n in row("number").split()], np.float32)
    bits = [int(n, 16) for n in row("bits").split()]
    assert bits == numbers.view(np.uint32).tolist()
    ordered = [int(n, 16) for n in row("ordered").split()[:6]]
    assert ordered == [~b & 0xFFFFFFFF if b >> 31 else b | 1 << 31 for b in bits] == sorted(ordered)

    logits = np.array([float(n) for n in row("logits").replace("|", " ").split()], np.float32)
    keys = [int(high + low, 16) for high, low in re.findall(r"(\w{8}) (\w{8})", row("best key"))]
    order = dict(zip(numbers.tolist(), ordered, strict=True))
    assert keys == [
        max(order[logits[i].item()] << 32 | ~i & 0xFFFFFFFF for i in part) for part in (range(4), range(4, 8))
    ]
    assert int("".join(row("merge").split()[:2]), 16) == max(keys)
    index = int(row("index").split()[0])
    assert index == ~max(keys) & 0xFFFFFFFF == logits.argmax()
    assert lessons.answer(LESSON.argmax, logits[None]).tolist() == [index]


def test_parts_of_the_page(on):
    spec = (DAY.lesson / "README.md").read_text()
    assert LESSON.PART == 1024
    assert -(-128256 // LESSON.PART) == 126
    assert "from\none to 126" in spec or "from one to 126" in spec
    assert f"{128256 * 4:,} bytes" in spec
