"""A prompt through the model on tensor cores, into the caches."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from engine import device
from engine.fused.chain import Graph, Launch
from engine.fused.rows import FLOAT16, RowLayers, product
from engine.fused.step import q_scale_of
from engine.fused.weights import BIAS, FusedLayer, FusedWeights, Matrix

ATTENTION_WARPS = 4
HEAD_DIMS = (16, 32, 64, 128)
# Multiplications of a prompt's second parts, at most: what four layers of Llama-3.2-1B take for 2,048 tokens.
SECOND_PARTS = 1 << 39
LENGTHS = (16, 32, 64, 96, 128, 192, 256, 384, 512)  # to which short prompts are filled up
RECORDED = 4  # of them, the last that were wanted
CHOOSING_S = 0.1  # for products' algorithms of one length, at most: see `engine.cublaslt`


def why_not(weights: FusedWeights) -> str | None:
    """None where a prompt can go through tensor cores, else why not."""
    if weights.config.head_dim not in HEAD_DIMS:
        return f"head_dim is {weights.config.head_dim}: expected one of {', '.join(map(str, HEAD_DIMS))}"
    return None


def halves(matrix: Matrix) -> Matrix:
    """A matrix in float16; the scales of a quantized one stay apart, and its whole numbers as they are.

    A bfloat16 number keeps all of its bits there, where it is 2^-14 at least; a smaller one is off by 2^-25 at most.

    Raises:
        ValueError: a weight is larger than float16's largest number.
    """
    xp = device.xp
    out = matrix.values.astype(np.float16)
    if matrix.values.dtype == np.uint8:
        out -= np.float16(BIAS)
    if not bool(xp.isfinite(out).all()):
        raise ValueError("a weight is NaN, or not within float16's 65,504")
    return Matrix(out, matrix.scales)


def half_layers(weights: FusedWeights) -> tuple[FusedLayer, ...]:
    """All layers with their matrices in float16, as far as a prompt wants them: of the last, keys and values alone."""
    *others, last = weights.layers
    queries = weights.config.num_attention_heads * weights.config.head_dim
    scales = last.qkv.scales[queries:] if weights.kind == "int8" else last.qkv.scales
    return (
        *(
            replace(
                layer, qkv=halves(layer.qkv), output=halves(layer.output), gate_up=halves(layer.gate_up),
                down=halves(layer.down),
            )
            for layer in others
        ),
        replace(last, qkv=halves(Matrix(last.qkv.values[queries:], scales))),
    )  # fmt: skip


def with_two_parts(weights: FusedWeights, rows: int) -> int:
    """How many layers, from the first on, take activations apart into two float16 numbers, 22 bits, and not one, 11 bits.

    What a layer rounds away goes through all layers after it, and what the last ones do, through few. So where two parts
    everywhere would take too long, the first layers have them.
    """
    first = weights.layers[0]
    each = rows * sum(int(m.values.size) for m in (first.qkv, first.output, first.gate_up, first.down))
    return min(len(weights.layers), max(1, SECOND_PARTS // each))


class Cache(Protocol):
    """Keys and values of a layer: [capacity, kv_heads, head_dim] float32 each, on the device; or so of each text."""

    keys: Any
    values: Any


class Prefill:
    """The layers for a prompt, on tensor cores, with float32 sums and activations of 22 bits, or 11: see `with_two_parts`.

    What that rounds away reaches the caches and so the text's later tokens. The prompt's last token should go through a
    decode step, which computes in float32: its logits see that rounding only through what it attends to.

    Short prompts are filled up to one of a few lengths. Of each, the second time, all launches are recorded as a CUDA graph:
    the host would take longer for them than the GPU. Then, too, the quickest way for its products is looked for.

    Args:
        weights: of the model.
        turns: [capacity, head_dim / 2, 2] float32: see `engine.fused.step.turns_of`.
        caches: one for each layer.
        stream: CuPy's, on which it is run; None to record nothing.
    """

    def __init__(self, weights: FusedWeights, turns: Any, caches: Sequence[Cache], stream: Any = None) -> None:
        self.weights, self.turns, self.caches = weights, turns, caches
        self.layers = half_layers(weights)
        self._stream = stream
        self._short: dict[int, _Pass] = {}  # the last wanted at the end
        self._long: _Pass | None = None

    def run(self, ids: Sequence[int], text: int = 0) -> None:
        """Fill the caches' rows 0, 1, … with the keys and values of these tokens.

        Args:
            text: to which they belong, where caches hold several.
        """
        if not ids:
            return
        chosen = self._pass(len(ids))
        chosen.prompt[: 2 + len(ids)] = device.to_device(np.array([len(ids), text, *ids], np.int32))
        chosen.run()

    def _pass(self, tokens: int) -> _Pass:
        rows = next((length for length in LENGTHS if length >= tokens), None)
        if rows is None:
            if self._long is None or self._long.rows != tokens:
                self._long = None  # its memory first
                self._long = _Pass(self, tokens, None)
            return self._long
        known = self._short.pop(rows) if rows in self._short else _Pass(self, rows, self._stream)
        self._short[rows] = known
        if len(self._short) > RECORDED:
            del self._short[next(iter(self._short))]
        return known


class _Pass:
    """The layers for a number of rows, and the memory that they take.

    Attributes:
        prompt: [2 + rows] int32: see kernels/rows/turn.cu.
    """

    def __init__(self, of: Prefill, rows: int, stream: Any) -> None:
        xp, config = device.xp, of.weights.config
        self.rows, self._of, self._stream = rows, of, stream
        self._two = with_two_parts(of.weights, rows)
        scaled = of.weights.kind == "int8"
        self._layers = RowLayers(config, rows, FLOAT16, 2, scaled=scaled, QK_NORM=int(of.weights.has_qk_norm))
        self._q16 = xp.empty((2, rows, config.num_attention_heads, config.head_dim), np.float16)
        self._k16 = xp.empty((2, rows, config.num_key_value_heads, config.head_dim), np.float16)
        self._v16 = xp.empty_like(self._k16)
        self.prompt = xp.zeros(2 + rows, np.int32)
        self._capacity = np.int32(of.caches[0].keys.shape[-3])
        self._q_scale = q_scale_of(config)
        self._graph: Graph | None = None
        self._runs = 0

    def run(self) -> None:
        """Launch all of it for `prompt`."""
        self._runs += 1
        if self._runs == 2:  # a length that comes again is worth the time
            self._choose()
            if self._stream is not None:
                self._graph = Graph(self._launch, self._stream)
        if self._graph is not None:
            self._graph.run()
        else:
            self._launch()

    def _choose(self) -> None:
        until = time.perf_counter() + CHOOSING_S
        *layers, _ = self._of.layers
        for parts in (2, 1) if self._two < len(layers) else (2,):
            if layers:
                self._layers.choose(layers, parts, until)

    def _launch(self) -> None:
        layers, last = self._layers, len(self._of.layers) - 1
        layers.launch("embed", (self.prompt, self._of.weights.embedding, layers.hidden))
        layers.begin()
        for number, layer in enumerate(self._of.layers):
            parts = 2 if number < self._two else 1
            if number < last:
                layers.layer(layer, functools.partial(self._attend, number, layer, parts), parts)
                continue
            out = layers.qkv.reshape(-1)[: parts * self.rows * layer.qkv.values.shape[0]].reshape(parts * self.rows, -1)
            product(layers.norm(layer.input_norm, parts), layer.qkv.values, out)
            self._turn(number, layer, parts, KEYS_ONLY=1)

    def _attend(self, number: int, layer: FusedLayer, parts: int) -> None:
        self._turn(number, layer, parts)
        config = self._of.weights.config
        cut = cut_of(config.head_dim, parts)
        defines = {"PARTS": parts, "TILES": cut.tiles, "KEYS": cut.keys}
        kernel = self._layers.kernel("rows_flash_attention", "rows/flash_attention.cu", **defines)
        arguments = (self._q16, self._k16, self._v16, self._layers.attended, np.int32(self.rows))
        grid = (config.num_attention_heads, -(-self.rows // cut.queries))
        Launch(kernel, grid, 32 * ATTENTION_WARPS, arguments, cut.shared_bytes(config.head_dim, parts)).run()

    def _turn(self, number: int, layer: FusedLayer, parts: int, **defines: int) -> None:
        layers, cache = self._layers, self._of.caches[number]
        arguments = (
            layers.qkv, layer.qkv.scales, layer.q_norm, layer.k_norm, self._of.turns, self.prompt, cache.keys,
            cache.values, self._q16, self._k16, self._v16, layers.epsilon, self._q_scale, self._capacity,
        )  # fmt: skip
        layers.launch("turn", arguments, PARTS=parts, **defines)


class Cut(NamedTuple):
    """How a block of attention cuts its work: see kernels/rows/flash_attention.cu."""

    tiles: int
    keys: int

    @property
    def queries(self) -> int:
        """Of a block."""
        return 16 * ATTENTION_WARPS * self.tiles

    def shared_bytes(self, head_dim: int, parts: int) -> int:
        """Two stages of keys and values in float16; a row is a little longer than its numbers."""
        return 2 * 2 * parts * self.keys * 2 * (head_dim + 8)


def cut_of(head_dim: int, parts: int) -> Cut:
    """As much as a thread's 255 registers hold."""
    if head_dim < 128:
        return Cut(2, 64)
    return Cut(1, 64 if parts == 1 else 32)
