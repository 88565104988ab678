"""One decode step as fused kernels: buffers, launches, and the state that lives on the device."""

from __future__ import annotations

import enum
import functools
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from engine import device
from engine.cache import LayerCache
from engine.config import Config
from engine.fused import chain
from engine.fused.chain import Graph, Launch
from engine.fused.cutting import Cut, cut
from engine.fused.weights import FusedWeights, Matrix

MOST_STOPS = 63  # tokens that the device looks for; the host sees every token too
NEXT_TOKEN_WARPS = 16
ATTENTION_WARPS = 8


class Origin(enum.IntEnum):
    """Where the next step's token comes from: see kernels/decode/advance.cuh."""

    LARGEST = 0  # it has the largest logit
    CHOSEN = 1  # it is in `DecodeStep.chosen`, drawn by a sampler
    GIVEN = 2  # it is there too, and part of the text: not counted, and it ends nothing


EMPTY = -2  # no token has come yet


def turns_of(model_frequencies: Any, capacity: int) -> Any:
    """Cosine and sine of every rotary pair at every position: [capacity, head_dim / 2, 2] float32, on the device.

    The angle is rounded to float32 as in day 11; its cosine and sine are exact to the last bit.
    """
    frequencies = device.to_host(model_frequencies)
    angles = (np.arange(capacity, dtype=np.float32)[:, None] * frequencies).astype(np.float64)
    return device.to_device(np.stack([np.cos(angles), np.sin(angles)], axis=-1).astype(np.float32))


def splits_of(capacity: int, kv_heads: int) -> int:
    """Blocks that share a KV head's positions, for texts of up to `capacity` tokens."""
    if device.name() == "cpu":
        return 1
    return max(1, min(32, max(32 // kv_heads, capacity // 256)))


def q_scale_of(config: Config) -> np.float32:
    """What queries are multiplied with: exp2 takes the place of exp, so the scores are in units of log2(e)."""
    return np.float32(math.log2(math.e) / math.sqrt(config.head_dim))


class DecodeStep:
    """The kernels of one decode step of one text.

    What a step needs stays on the device between steps: the residual stream of the next token, its position, how many tokens
    were chosen, whether the text has ended. So steps can be launched ahead of the tokens that they choose.

    Args:
        weights: of the model.
        frequencies: [head_dim / 2] float32, of the model's rotary pairs.
        caches: one for each layer, all of one capacity; the steps write their keys and values, and leave `length` alone.
        splits: blocks that share a KV head's positions; default: what suits the capacity.
        cuts: how kernels take their rows, by `qkv`, `output`, `gate_up`, `down`, `head`; default: what suits the device.

    Attributes:
        logits: [1, vocab_size] float32, of the last step.
        tokens: [capacity + 1] int32, in the host's memory: the tokens chosen, `EMPTY` where none has come yet, -1 where the
            logits have a NaN.
        state: [4] int32 on the device: position, tokens chosen, 1 once the text has ended, tokens at most.
    """

    def __init__(
        self,
        weights: FusedWeights,
        frequencies: Any,
        caches: Sequence[LayerCache],
        *,
        splits: int | None = None,
        cuts: dict[str, Cut] | None = None,
    ) -> None:
        xp, config = device.xp, weights.config
        self.weights, self.config, self.caches = weights, config, caches
        self.capacity = caches[0].capacity
        self.splits = splits or splits_of(self.capacity, config.num_key_value_heads)
        heads, width = config.num_attention_heads, config.num_attention_heads * config.head_dim
        qkv_rows = width + 2 * config.num_key_value_heads * config.head_dim
        shapes = {
            "qkv": (qkv_rows, config.hidden_size, 1),
            "output": (config.hidden_size, width, 1),
            "gate_up": (2 * config.intermediate_size, config.hidden_size, 2),
            "down": (config.hidden_size, config.intermediate_size, 1),
            "head": (config.vocab_size, config.hidden_size, 1),
        }
        self.columns = {name: columns for name, (_, columns, _) in shapes.items()}
        self.cuts = {name: cut(rows, columns, weights.kind, span) for name, (rows, columns, span) in shapes.items()}
        self.cuts |= cuts or {}

        self.turns = turns_of(frequencies, self.capacity)
        self.hidden = xp.zeros(config.hidden_size, np.float32)
        self.qkv = xp.zeros(qkv_rows, np.float32)
        self.parts = xp.zeros((heads, self.splits, config.head_dim), np.float32)
        self.sums = xp.zeros((heads, self.splits, 2), np.float32)
        self.inner = xp.zeros(config.intermediate_size, np.float32)
        self.logits = xp.zeros((1, config.vocab_size), np.float32)
        self.best = xp.zeros(self.cuts["head"].grid, np.uint64)
        self.chosen = xp.zeros(1, np.int32)
        self.state = xp.zeros(4, np.int32)
        self.stops = xp.zeros(1 + MOST_STOPS, np.int32)
        self.tokens = chain.pinned_zeros(self.capacity + 1)
        self.epsilon = np.float32(config.rms_norm_eps)

    def begin(self, position: int, limit: int, stop_tokens: Sequence[int]) -> None:
        """Start a text of which `position` tokens are in the cache; its first token is still to be chosen.

        Args:
            limit: tokens at most.
            stop_tokens: tokens that end it.
        """
        stops = sorted(set(stop_tokens))[:MOST_STOPS]
        self.tokens[:] = EMPTY
        self.state[...] = device.to_device(np.array([position - 1, 0, 0, limit], np.int32))
        self.stops[: 1 + len(stops)] = device.to_device(np.array([len(stops), *stops], np.int32))

    @functools.cached_property
    def kernels(self) -> dict[str, Any]:
        """All kernels of a step: those that go over the rows of a matrix, as in `cuts`, and `attention` and `next_token`.

        They are compiled side by side: a step has seven, and the first text waits for them.
        """
        sources: dict[str, dict[str, int | str]] = {
            name: {"WEIGHT": self.weight, "WARPS": warps, "SPAN": span, "DEPTH": depth}
            for name, (_, warps, span, depth, _) in self.cuts.items()
        }
        sources["attention"] = {"WARPS": ATTENTION_WARPS, "QK_NORM": int(self.weights.has_qk_norm)}

        def compiled(name: str) -> Any:
            if name == "next_token":
                return self.next_token_kernel()
            source = device.load_module(f"decode/{name}.cu", {**self.sizes, **sources[name]})
            return source.get_function(f"decode_{name}")

        names = [*sources, "next_token"]
        if device.name() == "cuda":  # NVRTC is quick, and a context belongs to its thread
            return {name: compiled(name) for name in names}
        with ThreadPoolExecutor() as pool:
            return dict(zip(names, pool.map(compiled, names), strict=True))

    @property
    def sizes(self) -> dict[str, int | str]:
        """What all kernels are compiled for: see kernels/decode/shapes.cuh."""
        config = self.config
        return {
            "HIDDEN": config.hidden_size, "INNER": config.intermediate_size, "HEADS": config.num_attention_heads,
            "KV_HEADS": config.num_key_value_heads, "HEAD_DIM": config.head_dim, "SPLITS": self.splits,
        }  # fmt: skip

    @property
    def weight(self) -> str:
        """The kind of weight, as kernels/decode/vectors.cuh calls it."""
        return "Int8" if self.weights.kind == "int8" else "BFloat16"

    def next_token_kernel(self) -> Any:
        """See kernels/decode/next_token.cu."""
        source = device.load_module("decode/next_token.cu", {**self.sizes, "WARPS": NEXT_TOKEN_WARPS})
        return source.get_function("decode_next_token")

    def _rows(self, name: str, before: Sequence[Any], matrix: Matrix, after: Sequence[Any]) -> Launch:
        """A launch of a kernel that goes over the rows of a matrix."""
        grid, warps, _, _, ring_bytes = self.cuts[name]
        arguments = (*before, matrix.values, matrix.scales, *after)
        return Launch(self.kernels[name], (grid,), 32 * warps, arguments, 4 * self.columns[name] + ring_bytes)

    def layer(self, number: int) -> list[Launch]:
        """The five launches of a layer."""
        layer, cache = self.weights.layers[number], self.caches[number]
        q_scale = q_scale_of(self.config)
        return [
            self._rows("qkv", (self.hidden, layer.input_norm), layer.qkv, (self.qkv, self.epsilon)),
            Launch(
                self.kernels["attention"], (self.config.num_key_value_heads, self.splits), 32 * ATTENTION_WARPS,
                (
                    self.qkv, layer.q_norm, layer.k_norm, self.turns, cache.keys, cache.values, self.state, self.parts,
                    self.sums, self.epsilon, q_scale, np.int32(self.capacity), np.int32(number > 0),
                ),
            ),
            self._rows("output", (self.parts, self.sums), layer.output, (self.hidden,)),
            self._rows("gate_up", (self.hidden, layer.post_norm), layer.gate_up, (self.inner, self.epsilon)),
            self._rows("down", (self.inner,), layer.down, (self.hidden,)),
        ]  # fmt: skip

    def to_logits(self) -> list[Launch]:
        """From the residual stream to the logits, and the best token of each block."""
        launches = [launch for number in range(self.config.num_hidden_layers) for launch in self.layer(number)]
        after = (self.logits, self.best, self.epsilon, np.int32(self.config.vocab_size))
        return [*launches, self._rows("head", (self.hidden, self.weights.norm), self.weights.head, after)]

    def next_token(self, origin: Origin) -> Launch:
        """The token of this step into the host's memory, and the input of the next one."""
        kernel = self.kernels["next_token"]
        arguments = (
            self.best, np.int32(len(self.best)), self.chosen, np.int32(origin), self.stops, self.weights.embedding,
            self.state, self.hidden, self.tokens, np.int32(self.capacity),
        )  # fmt: skip
        return Launch(kernel, (1,), 32 * NEXT_TOKEN_WARPS, arguments)

    def graph(self, launches: Sequence[Launch], stream: Any, chained: bool = True) -> Graph:
        """Launches of a step, recorded once; chained where the device can."""
        chained = chained and chain.why_not_chained() is None
        return Graph(functools.partial(chain.run_all, launches, stream, chained), stream)

    def greedy(self, stream: Any, steps: int = 1, chained: bool = True) -> Graph:
        """Whole steps that take the largest logit's token."""
        return self.graph([*self.to_logits(), self.next_token(Origin.LARGEST)] * steps, stream, chained)
