"""Day 19 by itself: a cache against concatenation over random lives, its memory, what its page says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import device
from grader.curriculum import find
from tests import lessons

DAY = find("day19")
SOLUTION = lessons.load(DAY)


def address(array) -> int:
    return array.__array_interface__["data"][0] if isinstance(array, np.ndarray) else array.data.ptr


@lessons.randomly(60)
@given(
    capacity=st.integers(1, 40),
    kv_heads=st.integers(1, 4),
    head_dim=st.integers(1, 70),
    steps=st.lists(st.tuples(st.booleans(), st.integers(0, 20)), max_size=12),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_life_of_a_cache(on, capacity, kv_heads, head_dim, steps, seed):
    rng = np.random.default_rng(seed)
    cache = SOLUTION.LayerCache(capacity, kv_heads, head_dim)
    held = [np.empty((0, kv_heads, head_dim), np.float32) for _ in "kv"]
    for truncate, count in steps:
        if truncate:
            length = min(count, len(held[0]))
            cache.truncate(length)
            held = [array[:length] for array in held]
            continue
        new = [rng.standard_normal((count, kv_heads, head_dim)).astype(np.float32) for _ in "kv"]
        if len(held[0]) + count > capacity:
            with pytest.raises(ValueError, match=f"capacity of {capacity}"):
                cache.append(*map(device.to_device, new))
        else:
            held = [np.concatenate(pair) for pair in zip(held, new, strict=True)]
            views = cache.append(*map(device.to_device, new))
            assert [device.to_host(v).tobytes() for v in views] == [h.tobytes() for h in held]
            assert [address(v) for v in views if v.size] == [
                address(a) for a in (cache.keys, cache.values) if len(held[0])
            ]
        assert cache.length == len(held[0])
        stored = (cache.keys[: cache.length], cache.values[: cache.length])
        assert [device.to_host(v).tobytes() for v in stored] == [h.tobytes() for h in held]
    assert cache.bytes == 2 * capacity * kv_heads * head_dim * 4


def test_memory_is_taken_once(on):
    cache = SOLUTION.LayerCache(64, 3, 64)
    before = address(cache.keys), address(cache.values)
    row = device.xp.ones((1, 3, 64), np.float32)
    for _ in range(64):
        cache.append(row, row)
    assert (address(cache.keys), address(cache.values)) == before


def test_the_worked_example(on):
    cache = SOLUTION.LayerCache(4, 2, 2)
    rows = np.arange(1, 13, dtype=np.float32).reshape(3, 2, 2)
    old, new = (device.to_device(part) for part in (rows[:2], rows[2:]))
    cache.append(old, old)
    keys, _ = cache.append(new, new)
    assert device.to_host(new).ravel().tolist() == lessons.example_row(DAY, "k") == [9, 10, 11, 12]
    assert device.to_host(keys).ravel().tolist() == list(range(1, 13))
    assert lessons.example_row(DAY, "first") == [2 * 4]


def test_bytes_a_token_of_smollm2():
    assert "46,080 bytes" in (DAY.lesson / "README.md").read_text()
    assert 2 * 30 * 3 * 64 * 4 == 46_080


def test_a_cache_that_cannot_be(on):
    for sizes, name in (((0, 1, 1), "capacity"), ((2.5, 1, 1), "capacity"), ((1, 2**16, 2**16), "kv_heads · head_dim")):
        with pytest.raises(ValueError, match=name):
            SOLUTION.LayerCache(*sizes)


@pytest.mark.gpu
def test_offsets_past_two_billion(gpu_with):
    """The last rows of a cache of 2^31 + 2^29 numbers: an int would wrap."""
    rows, width = 40_960, 2**16
    gpu_with(1.2 * 2 * 4 * rows * width)
    cache = SOLUTION.LayerCache(rows, 256, 256)
    cache.length = rows - 2
    new = np.random.default_rng(1).standard_normal((2, 256, 256)).astype(np.float32)
    keys, values = cache.append(device.to_device(new), device.to_device(-new))
    assert keys[-2:].get().tobytes() == new.tobytes()
    assert values[-2:].get().tobytes() == (-new).tobytes()
