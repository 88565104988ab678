"""Decode steps in one kernel that stays on the GPU: see kernels/decode/persistent.cu."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from engine import device
from engine.fused.caches import StackedCaches
from engine.fused.chain import Graph, Launch
from engine.fused.cutting import multiprocessors
from engine.fused.step import DecodeStep, q_scale_of
from engine.fused.tiles import Tiles
from engine.fused.weights import FusedWeights

WARPS = 8  # that multiply
RESERVED_BYTES = 1 << 10  # of shared memory, that the system takes for each block


def why_not() -> str | None:
    """None where whole steps can be one kernel, else one sentence that says what is missing."""
    if device.name() == "cpu":
        return None
    import cupy

    if int(cupy.cuda.Device().compute_capability) < 90:
        return "bulk copies to shared memory need compute capability 9.0"
    return None


class PersistentStep(DecodeStep):
    """One decode step, or several, as one launch.

    Args:
        tiles: `tiles_of(weights)`.
        caches: of all layers.
        defines: what the kernel is compiled for, other than by default; `WARPS` of a block multiply.
        blocks: default: one for each multiprocessor. All of them must run at the same time.

    The others are `DecodeStep`'s.
    """

    def __init__(
        self,
        weights: FusedWeights,
        tiles: Tiles,
        frequencies: Any,
        caches: StackedCaches,
        *,
        splits: int | None = None,
        blocks: int | None = None,
        defines: Mapping[str, int | str] | None = None,
    ) -> None:
        super().__init__(weights, frequencies, caches.layers, splits=splits)
        self.tiles, self.stacked = tiles, caches
        self.defines: dict[str, int | str] = {"WARPS": WARPS, **(defines or {})}
        self.warps, self.blocks = int(self.defines["WARPS"]), blocks or _blocks()
        config = weights.config
        self.best = device.xp.zeros(self.blocks, np.uint64)
        self.streams = device.xp.zeros((2, config.hidden_size), np.float32)
        self.attended = device.xp.zeros(config.num_attention_heads * config.head_dim, np.float32)
        self.counts = device.xp.zeros(3, np.uint64)  # see kernels/decode/grid_barrier.cuh

    @functools.cached_property
    def kernels(self) -> dict[str, Any]:
        """The persistent kernel, and `next_token` for tokens that others choose."""
        config = self.config
        defines: dict[str, int | str] = {
            **self.sizes, "LAYERS": config.num_hidden_layers, "VOCAB": config.vocab_size, "WEIGHT": self.weight,
            "QK_NORM": int(self.weights.has_qk_norm), "BLOCKS": self.blocks, **self.defines,
        }  # fmt: skip
        module = device.load_module("decode/persistent.cu", defines, cooperative=True)
        return {"persistent": module.get_function("decode_persistent"), "next_token": self.next_token_kernel()}

    def launch(self, steps: int, chooses: bool) -> Launch:
        """So many steps; the last tokens' logits stay, and unless it `chooses` it is one step without a next token."""
        kernel, weights, layers, tiles = self.kernels["persistent"], self.weights, self.weights.stacked, self.tiles
        shared = device.most_shared_bytes()
        if device.name() == "cuda":
            shared -= kernel.shared_size_bytes + RESERVED_BYTES
        arguments = (
            tiles.qkv, layers.qkv.scales, tiles.output, layers.output.scales, tiles.gate_up, layers.gate_up.scales,
            tiles.down, layers.down.scales, tiles.head, weights.head.scales,
            layers.input_norm, layers.post_norm, layers.q_norm, layers.k_norm, weights.norm, weights.embedding,
            self.turns, self.stacked.keys, self.stacked.values, self.hidden, self.streams, self.qkv, self.parts,
            self.sums, self.attended, self.inner, self.logits, self.best, self.state, self.stops, self.tokens,
            self.counts, self.epsilon, q_scale_of(self.config), np.int32(self.capacity), np.int32(steps),
            np.int32(chooses), np.int32(shared),
        )  # fmt: skip
        asking = 32 if device.name() == "cuda" else 0
        return Launch(kernel, (self.blocks,), 32 * self.warps + asking, arguments, shared)

    def to_logits(self) -> list[Launch]:
        """From the residual stream to the logits."""
        return [self.launch(1, chooses=False)]

    def greedy(self, stream: Any, steps: int = 1, chained: bool = True) -> Graph:
        """Whole steps that take the largest logit's token."""
        return self.graph([self.launch(steps, chooses=True)], stream, chained=False)


def _blocks() -> int:
    if device.name() == "cuda":
        return multiprocessors()
    from emulator.launch import worker_count

    return worker_count()
