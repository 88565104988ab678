"""Matrices laid out for tensor cores, as the lanes of a warp load them: see kernels/decode/tiled_rows.cuh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from engine import device
from engine.fused.weights import BIAS, FusedWeights

ROWS, STEP_BYTES, VECTOR_BYTES = 8, 64, 16  # of a group; of a row in one step; of a lane
WORDS = VECTOR_BYTES // 8  # of 64 bits


@dataclass(frozen=True)
class Tiles:
    """A model's matrices in steps of eight rows.

    Attributes:
        qkv, output, gate_up, down: [layers, groups, steps, 8, 4, 2] uint64: of each group of eight rows and step of 64 bytes,
            each row's four vectors of 16 bytes. int8 numbers are signed. Behind the last row and column there are zeros.
        head: the same, without layers.
    """

    qkv: Any
    output: Any
    gate_up: Any
    down: Any
    head: Any


def tiled(values: Any) -> Any:
    """One matrix in steps of eight rows.

    Args:
        values: [rows, columns] of a `Matrix`; a row is a multiple of 16 bytes.
    """
    xp = device.xp
    rows = values.shape[0]
    words = values.view(np.uint64).reshape(rows, -1, WORDS)
    if values.dtype == np.uint8:  # BIAS is the highest bit: turned, it is the number's sign
        words = words ^ np.uint64(BIAS * 0x0101010101010101)
    groups, steps = -(-rows // ROWS), -(-words.shape[1] * VECTOR_BYTES // STEP_BYTES)
    vectors = STEP_BYTES // VECTOR_BYTES
    padded = xp.zeros((groups * ROWS, steps * vectors, WORDS), np.uint64)
    padded[:rows, : words.shape[1]] = words
    return xp.ascontiguousarray(padded.reshape(groups, ROWS, steps, vectors, WORDS).transpose(0, 2, 1, 3, 4))


def tiles_of(weights: FusedWeights) -> Tiles:
    """All matrices of a step; a copy of them."""

    def stacked(values: Any) -> Any:
        first = tiled(values[0])
        out = device.xp.empty((len(values), *first.shape), first.dtype)
        for number in range(len(values)):  # one at a time: they are large
            out[number] = tiled(values[number]) if number else first
        return out

    layers = weights.stacked
    return Tiles(
        qkv=stacked(layers.qkv.values),
        output=stacked(layers.output.values),
        gate_up=stacked(layers.gate_up.values),
        down=stacked(layers.down.values),
        head=tiled(weights.head.values),
    )
