"""Matrices in tiles: every weight where a lane of the persistent kernel looks for it."""

from __future__ import annotations

import numpy as np
import pytest

from engine import device
from engine.fused.tiles import tiled, tiles_of
from engine.fused.weights import BIAS, fuse
from engine.weights import ELEMENT
from tests.engine.fused_models import WIDE, make_model


@pytest.mark.parametrize(("rows", "columns"), [(8, 32), (1, 8), (13, 40), (24, 72)])
def test_a_lanes_sixteen_bytes(on_cpu, rows, columns):
    """Lane 4 · n + q of a step has row n, bytes 16 · q of the step's 64; zeros behind the last row and column."""
    matrix = np.random.default_rng(0).standard_normal((rows, columns)).astype(ELEMENT)
    out = tiled(matrix).view(np.uint16).reshape(-(-rows // 8), -(-columns // 32), 8, 4, 8)
    for group, step, n, q in np.ndindex(*out.shape[:4]):
        row, first = 8 * group + n, 32 * step + 8 * q
        expected = matrix.view(np.uint16)[row, first : first + 8] if row < rows and first < columns else np.zeros(8)
        assert (out[group, step, n, q] == expected).all()


def test_int8_numbers_are_signed(on_cpu):
    numbers = np.random.default_rng(0).integers(-127, 128, (16, 64))
    out = tiled((numbers + BIAS).astype(np.uint8)).view(np.int8).reshape(2, 1, 8, 64)
    assert (out[:, 0] == numbers.reshape(2, 8, 64)).all()


@pytest.mark.parametrize("kind", ["bfloat16", "int8"])
def test_all_layers_of_a_model(on_cpu, kind):
    weights = fuse(make_model("tiny-llama", **WIDE), kind)
    found = tiles_of(weights)
    for number, layer in enumerate(weights.layers):
        for name in ("qkv", "output", "gate_up", "down"):
            assert (getattr(found, name)[number] == tiled(getattr(layer, name).values)).all()
    assert (found.head == tiled(weights.head.values)).all()
    assert device.to_host(found.head).flags.c_contiguous
