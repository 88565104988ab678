"""A prompt through the model on tensor cores, into the caches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from engine import device
from engine.fused.chain import Launch
from engine.fused.rows import FLOAT16, WARPS, RowLayers
from engine.fused.weights import FusedLayer, FusedWeights, Matrix, dequantized

QUERIES, KEYS = 64, 64  # of a block of attention, and of one of its rounds
WMMA_HEAD_DIMS = (16, 32, 64, 128)


def why_not(weights: FusedWeights) -> str | None:
    """None where a prompt can go through tensor cores, else why not."""
    if weights.config.head_dim not in WMMA_HEAD_DIMS:
        return f"head_dim is {weights.config.head_dim}: expected one of {', '.join(map(str, WMMA_HEAD_DIMS))}"
    return None


def halves(matrix: Matrix) -> Matrix:
    """A matrix in float16.

    A bfloat16 number keeps all of its bits there, where it is 2^-14 at least; a smaller one is off by 2^-25 at most.

    Raises:
        ValueError: a weight is larger than float16's largest number.
    """
    xp = device.xp
    values = matrix.values
    if values.dtype == np.uint8:
        values = dequantized(matrix)
    out = values.astype(np.float16)
    if not bool(xp.isfinite(out).all()):
        raise ValueError("a weight is NaN, or not within float16's 65,504")
    return Matrix(out, matrix.scales)


def half_layers(weights: FusedWeights) -> tuple[FusedLayer, ...]:
    """All layers with their matrices in float16."""
    return tuple(
        replace(
            layer, qkv=halves(layer.qkv), output=halves(layer.output), gate_up=halves(layer.gate_up),
            down=halves(layer.down),
        )
        for layer in weights.layers
    )  # fmt: skip


class Cache(Protocol):
    """Keys and values of a layer: [capacity, kv_heads, head_dim] float32 each, on the device."""

    keys: Any
    values: Any


class Prefill:
    """The layers for a prompt, with float16 activations and float32 sums: 11 bits of each activation.

    What that rounds away, about 2^-12 of each number, reaches the caches and so the text's later tokens. The prompt's last
    token should go through a decode step, which computes in float32: its logits see that rounding only through what it
    attends to.

    Args:
        weights: of the model.
        turns: [capacity, head_dim / 2, 2] float32: see `engine.fused.step.turns_of`.
        caches: one for each layer.
    """

    def __init__(self, weights: FusedWeights, turns: Any, caches: Sequence[Cache]) -> None:
        self.config, self.turns, self.caches = weights.config, turns, caches
        self.embedding, self.layers = weights.embedding, half_layers(weights)
        self.qk_norm = int(weights.has_qk_norm)
        self._layers: RowLayers | None = None  # of the last prompt's length

    def run(self, ids: Sequence[int]) -> None:
        """Fill the caches' rows 0, 1, … with the keys and values of these tokens."""
        rows, config, xp = len(ids), self.config, device.xp
        if rows == 0:
            return
        if self._layers is None or self._layers.rows != rows:
            defines = {"WARPS": WARPS, "QK_NORM": self.qk_norm, "QUERIES": QUERIES, "KEYS": KEYS}
            self._layers = RowLayers(config, rows, FLOAT16, 1, **defines)
        layers = self._layers
        q16 = xp.empty((rows, config.num_attention_heads, config.head_dim), np.float16)
        k16 = xp.empty((rows, config.num_key_value_heads, config.head_dim), np.float16)
        v16 = xp.empty_like(k16)
        q_scale = np.float32(math.log2(math.e) / math.sqrt(config.head_dim))  # exp2 in place of exp
        turn = layers.kernel("rows_turn", "rows/turn_rows.cu")
        attention = layers.kernel("rows_flash_attention", "rows/flash_attention.cu")

        def attend(number: int, layer: FusedLayer) -> None:
            cache = self.caches[number]
            of_turn = (
                layers.qkv, layer.q_norm, layer.k_norm, self.turns, cache.keys, cache.values, q16, k16, v16,
                layers.epsilon, q_scale,
            )  # fmt: skip
            Launch(turn, (rows,), 32 * WARPS, of_turn).run()
            grid = (-(-rows // QUERIES), config.num_attention_heads)
            of_attention = (q16, k16, v16, layers.attended, layers.attended_scale, np.int32(rows))
            Launch(attention, grid, 2 * QUERIES, of_attention, shared_bytes(config.head_dim)).run()

        chosen = self.embedding.view(np.uint16)[device.to_device(np.array(ids, np.int64))]
        layers.hidden[...] = chosen.view(self.embedding.dtype).astype(np.float32)
        for number, layer in enumerate(self.layers):
            layers.layer(layer, number, attend)


def shared_bytes(head_dim: int) -> int:
    """Of a block of attention: what kernels/rows/flash_attention.cu keeps in `Shared`."""
    warps = QUERIES // 16
    tiles = 2 * (QUERIES + 2 * KEYS) * (head_dim + 8)
    return tiles + warps * 16 * (4 * (KEYS + 4) + 2 * (KEYS + 8) + 4 * (head_dim + 4))
