"""Whole decode steps in one kernel: what a chain of kernels computes, over several steps and launches."""

from __future__ import annotations

import numpy as np
import pytest

from engine import device
from engine.fused import chain
from engine.fused.caches import stacked_caches
from engine.fused.persistent import PersistentStep
from engine.fused.step import EMPTY, DecodeStep, Origin
from engine.fused.tiles import tiles_of
from engine.fused.weights import dequantized, fuse, quantize_rows
from grader import llama
from tests.engine.fused_models import CONFIGS, WIDE, error, fields_of, ids_of, make_model, weights_of

CAPACITY = 80


def give(step: DecodeStep, token: int) -> None:
    """A token of the text as the next step's."""
    step.chosen[...] = token
    step.next_token(Origin.GIVEN).run()


def logits_after(step: DecodeStep, ids: list[int]) -> np.ndarray:
    """Of every position of a text."""
    step.begin(0, CAPACITY, ())
    rows = []
    for token in ids:
        give(step, token)
        chain.run_all(step.to_logits())
        device.synchronize()
        rows.append(device.to_host(step.logits).copy())
    return np.concatenate(rows)


def tokens_after(step: DecodeStep, position: int, limit: int, stops: tuple[int, ...], launches: list[int]) -> list[int]:
    """Greedy tokens behind so many that are in the cache; each launch has its number of steps."""
    step.begin(position, limit, stops)
    give(step, 7)
    for steps in launches:
        step.greedy(None, steps).run()
    device.synchronize()
    return [int(token) for token in step.tokens if token != EMPTY]


def persistent(model, kind: str = "bfloat16", **options) -> PersistentStep:
    weights, caches = fuse(model, kind), stacked_caches(model.config, CAPACITY)
    return PersistentStep(weights, tiles_of(weights), model.frequencies, caches, **options)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_steps_logits(on, name):
    ids = ids_of(12, fields_of(name)["vocab_size"])
    expected = llama.forward(fields_of(name), weights_of(name), np.array(ids))
    got = logits_after(persistent(make_model(name), blocks=3, splits=2), ids)
    for row, (mine, right) in enumerate(zip(got, expected, strict=True)):
        assert error(mine, right) < 1e-5, f"position {row}"


def test_int8_is_the_dequantized_model(on):
    weights: dict[str, np.ndarray] = {}
    for name, matrix in weights_of("tiny-llama", **WIDE).items():
        weights[name] = matrix.astype(np.float64)
        if matrix.ndim == 2 and "embed" not in name:
            weights[name] = device.to_host(dequantized(quantize_rows(device.to_device(matrix)))).astype(np.float64)
    ids = ids_of(9, 259)
    expected = llama.forward(fields_of("tiny-llama", **WIDE), weights, np.array(ids))
    assert error(logits_after(persistent(make_model("tiny-llama", **WIDE), "int8"), ids), expected) < 1e-5


@pytest.mark.parametrize("kind", ["bfloat16", "int8"])
def test_how_the_work_is_shared_does_not_matter(on, kind):
    """Blocks, warps, parts of attention, bytes of a tile; the last two leave blocks without rows."""
    model, ids = make_model("tiny-llama", **WIDE), ids_of(5, 259)
    seen = [
        logits_after(persistent(model, kind, blocks=blocks, splits=splits, defines={"WARPS": warps, **defines}), ids)
        for blocks, warps, splits, defines in [
            (1, 8, 1, {}),
            (5, 4, 3, {"SEGMENT_BYTES": 64, "LEAST_POSITIONS": 1}),
            (40, 8, 2, {"SEGMENT_BYTES": 128}),
        ]
    ]
    for one in seen[1:]:
        assert error(one.astype(np.float64), seen[0]) < 2e-6


@pytest.mark.parametrize("splits", [1, 4])
def test_it_writes_what_the_chain_writes(on, splits):
    """In launches of several steps; a slice of attention is added on the way, and steps after the end change nothing."""
    model = make_model("tiny-llama")
    chained = DecodeStep(fuse(model), model.frequencies, stacked_caches(model.config, CAPACITY).layers)
    whole = persistent(model, splits=splits, blocks=4, defines={"LEAST_POSITIONS": 4})
    ids = ids_of(6, model.config.vocab_size)
    logits_after(chained, ids)
    logits_after(whole, ids)
    expected = tokens_after(chained, 6, 12, (), [1] * 12)
    assert len(expected) == 12
    assert tokens_after(whole, 6, 12, (), [4, 1, 7, 2]) == expected
    stop = expected[5]
    assert tokens_after(whole, 6, 12, (stop,), [3, 8]) == expected[: expected.index(stop) + 1]
    ended = device.to_host(whole.stacked.keys).copy()
    whole.greedy(None, 2).run()
    device.synchronize()
    assert (device.to_host(whole.stacked.keys) == ended).all()


@pytest.mark.parametrize("kind", ["bfloat16", "int8"])
def test_the_checker_finds_nothing(on_cpu, kind):
    """No race, stray access, uninitialised read or divergent barrier."""
    model = make_model("tiny-llama", **WIDE)
    device.select("cpu", check=True)
    step = persistent(model, kind, blocks=3, splits=2, defines={"WARPS": 4})
    logits_after(step, ids_of(2, 259))
    assert len(tokens_after(step, 2, 3, (), [3])) == 3


@pytest.mark.parametrize("kind", ["bfloat16", "int8"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_reaches_the_logits(on, kind, bad):
    """Neither digits of an int8 product nor marks hide it: here a value of the cache, which only attention reads."""
    step = persistent(make_model("tiny-llama", **WIDE), kind, blocks=2)
    logits_after(step, ids_of(3, 259))
    step.stacked.values[:, 1] = bad
    chain.run_all(step.to_logits())
    device.synchronize()
    assert np.isnan(device.to_host(step.logits)).all()
