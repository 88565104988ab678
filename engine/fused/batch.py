"""Several texts at once: one decode step reads the weights once for all of them."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine import device
from engine.config import Config
from engine.fused import chain
from engine.fused.chain import Graph, Launch
from engine.fused.engine import NoTokenError
from engine.fused.prefill import Prefill, why_not
from engine.fused.rows import BFLOAT16, RowLayers, product
from engine.fused.step import ATTENTION_WARPS, EMPTY, MOST_STOPS, Origin, turns_of
from engine.fused.weights import FusedLayer, FusedWeights, fuse
from engine.generate import check_arguments
from engine.model import Model

PARTS = 2  # bfloat16 numbers that an activation becomes: 16 of its 24 bits
WARPS = 16  # of a block that chooses a token
AHEAD = 4  # steps that are launched before the tokens of the first of them are known to the host


@dataclass
class TextsCache:
    """One layer's keys and values of several texts: [texts, capacity, kv_heads, head_dim] float32 each."""

    keys: Any
    values: Any


class BatchCaches:
    """Keys and values of several texts.

    Attributes:
        keys: [layers, texts, capacity, kv_heads, head_dim] float32, on the device.
        values: like keys.
    """

    def __init__(self, config: Config, texts: int, capacity: int) -> None:
        shape = (config.num_hidden_layers, texts, capacity, config.num_key_value_heads, config.head_dim)
        self.keys = device.xp.zeros(shape, np.float32)
        self.values = device.xp.zeros_like(self.keys)

    @property
    def layers(self) -> list[TextsCache]:
        """Each layer's, in the same memory."""
        return [TextsCache(*of_layer) for of_layer in zip(self.keys, self.values, strict=True)]


class BatchEngine:
    """A model that writes several texts at once, greedily; each may have a prompt and an end of its own.

    Args:
        model: on the device.
        texts: at once, at least 1.
        capacity: tokens of each text, prompt included.

    Raises:
        ValueError: the fused kernels cannot run this model; the message names the field.
    """

    def __init__(self, model: Model, texts: int, capacity: int) -> None:
        xp, config = device.xp, model.config
        check_arguments(config, [0], 0, capacity)
        if texts < 1:
            raise ValueError(f"texts is {texts}: expected at least 1")
        self.texts, self.capacity, self.config = texts, capacity, config
        self.stream = chain.make_stream()
        device.synchronize()  # the model may still be on its way, on another stream
        with chain.on(self.stream):
            self.weights: FusedWeights = fuse(model)
            self.caches = BatchCaches(config, texts, capacity)
            self.splits = self._splits()
            self.rows = RowLayers(
                config, texts, BFLOAT16, PARTS, SPLITS=self.splits, QKV_PARTS=PARTS,
                PARTS=PARTS, QK_NORM=int(self.weights.has_qk_norm),
            )  # fmt: skip
            heads, head_dim = config.num_attention_heads, config.head_dim
            self.parts = xp.zeros((texts, heads, self.splits, head_dim), np.float32)
            self.sums = xp.zeros((texts, heads, self.splits, 2), np.float32)
            self.logits = xp.zeros((PARTS * texts, config.vocab_size), np.float32)
            self.turns = turns_of(model.frequencies, capacity)
            self.state = xp.zeros((texts, 4), np.int32)
            self.given = xp.zeros(texts, np.int32)
            self.stops = xp.zeros(1 + MOST_STOPS, np.int32)
            self.prefill: Prefill | None = None
            if self._has_prefill():
                self.prefill = Prefill(self.weights, self.turns, self.caches.layers, self.stream)
        self.tokens = chain.pinned_zeros(texts * (capacity + 1)).reshape(texts, capacity + 1)
        self._graph: Graph | None = None
        if self.stream is not None:
            with self.stream:
                self._to_logits()  # of nothing: all is compiled and loaded then, which cannot be while a graph is recorded
            self.stream.synchronize()

    def _has_prefill(self) -> bool:
        return self.stream is not None and why_not(self.weights) is None

    def _splits(self) -> int:
        """Blocks that share a KV head's positions of one text: fewer where texts fill the GPU by themselves."""
        blocks = self.texts * self.config.num_key_value_heads
        return 1 if self.stream is None else max(1, min(8, 256 // blocks))

    def generate_batch(
        self, prompts: Sequence[Sequence[int]], max_tokens: int, stop_tokens: Sequence[int] = ()
    ) -> Iterator[list[int | None]]:
        """Go on with several texts.

        Args:
            prompts: each text's tokens; as many texts as the engine was made for.
            max_tokens: of each text, at most.
            stop_tokens: tokens that end a text and are not yielded.

        Yields:
            After each step, each text's new token; None for a text that has ended. Ends when all texts have.

        Raises:
            ValueError: a prompt does not fit, or the message names `prompts`, `max_tokens`; at the first token.
            NoTokenError: the logits of a text have a NaN; the message says which.
        """
        if len(prompts) != self.texts:
            raise ValueError(f"prompts has {len(prompts)} texts: expected {self.texts}")
        for ids in prompts:
            check_arguments(self.config, ids, max_tokens, self.capacity)
        if max_tokens == 0:
            return
        self._begin(prompts, max_tokens, stop_tokens)
        alive, launched = [True] * self.texts, 0
        for step in range(max_tokens):
            while launched < min(step + AHEAD, max_tokens):
                self._step_graph().run()
                launched += 1
            chosen: list[int | None] = []
            for text, ids in enumerate(prompts):
                token = self._wait_for(text, step) if alive[text] else None
                if token is not None and token < 0:
                    raise NoTokenError(f"text {text}, token {step}: the logits have a NaN")
                alive[text] = token is not None and token not in stop_tokens
                chosen.append(token if alive[text] else None)
                if len(ids) + step >= self.capacity:  # the token behind a full cache is the last
                    alive[text] = False
            if all(token is None for token in chosen):
                return
            yield chosen
            if not any(alive):
                return

    def _begin(self, prompts: Sequence[Sequence[int]], limit: int, stop_tokens: Sequence[int]) -> None:
        """The prompts but their last tokens into the caches; these are the first step's input."""
        if self.stream is not None:
            self.stream.synchronize()  # steps of other texts may still be on their way
        self.tokens[...] = EMPTY
        stops = sorted(set(stop_tokens))[:MOST_STOPS]
        with chain.on(self.stream):
            self.stops[: 1 + len(stops)] = device.to_device(np.array([len(stops), *stops], np.int32))
            if self.prefill is not None:
                for text, ids in enumerate(prompts):
                    self.prefill.run(ids[:-1], text)
                starts = [len(ids) - 1 for ids in prompts]
            else:
                starts = [0] * self.texts
            state = [[start - 1, 0, 0, limit] for start in starts]
            self.state[...] = device.to_device(np.array(state, np.int32))
        self._give_rest(prompts, starts)

    def _give_rest(self, prompts: Sequence[Sequence[int]], starts: Sequence[int]) -> None:
        """Tokens of the prompts from `starts` on, a step for each; texts with shorter prompts wait with their last token.

        A text that waits is given its token again at the same position: its row of the cache is written again, alike.
        """
        longest = max(len(ids) - start for ids, start in zip(prompts, starts, strict=True))
        for number in range(longest):
            behind = [min(start + number, len(ids) - 1) for ids, start in zip(prompts, starts, strict=True)]
            tokens = [ids[at] for ids, at in zip(prompts, behind, strict=True)]
            with chain.on(self.stream):
                self.given[...] = device.to_device(np.array(tokens, np.int32))
                self.state[:, 0] = device.to_device(np.array(behind, np.int32) - 1)
                self._next_tokens(Origin.GIVEN)
                if number + 1 < longest:
                    self._to_logits()

    def step(self) -> None:
        """One step of all texts, launched."""
        self._to_logits()
        self._next_tokens(Origin.LARGEST)

    def _step_graph(self) -> Graph:
        if self._graph is None:
            self._graph = Graph(self.step, self.stream)
        return self._graph

    def _to_logits(self) -> None:
        rows, weights, config = self.rows, self.weights, self.config
        q_scale = np.float32(math.log2(math.e) / math.sqrt(config.head_dim))  # exp2 in place of exp
        attention = rows.kernel("decode_attention", "decode/attention.cu", WARPS=ATTENTION_WARPS)

        def attend(number: int, layer: FusedLayer) -> None:
            arguments = (
                rows.qkv, layer.q_norm, layer.k_norm, self.turns, self.caches.keys[number], self.caches.values[number],
                self.state, self.parts, self.sums, rows.epsilon, q_scale, np.int32(self.capacity), np.int32(0),
            )  # fmt: skip
            grid = (config.num_key_value_heads, self.splits, self.texts)
            Launch(attention, grid, 32 * ATTENTION_WARPS, arguments).run()
            rows.launch("merge_parts", (self.parts, self.sums, rows.attended))

        rows.begin()
        for number, layer in enumerate(weights.layers):
            rows.layer(layer, functools.partial(attend, number, layer), PARTS)
        product(rows.norm(weights.norm, PARTS), weights.head.values, self.logits)

    def _next_tokens(self, origin: Origin) -> None:
        kernel = self.rows.kernel("rows_next_tokens", "rows/next_tokens.cu", WARPS=WARPS)
        arguments = (
            self.logits, np.int32(self.config.vocab_size), self.given, np.int32(origin), self.stops,
            self.weights.embedding, self.state, self.rows.hidden, self.tokens, np.int32(self.capacity),
        )  # fmt: skip
        Launch(kernel, (self.texts,), 32 * WARPS, arguments).run()

    def _wait_for(self, text: int, step: int) -> int:
        """A text's token of a step, once it is there."""
        if self.stream is not None:
            while self.tokens[text, step] == EMPTY:
                if self.stream.done and self.tokens[text, step] == EMPTY:
                    raise RuntimeError(f"the device has ended its work without token {step} of text {text}")
                time.sleep(0)
        return int(self.tokens[text, step])
