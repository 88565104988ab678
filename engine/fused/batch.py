"""Several texts at once: one decode step reads the weights once for all of them."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine import device
from engine.config import Config
from engine.fused import chain
from engine.fused.chain import Graph
from engine.fused.engine import NoTokenError
from engine.fused.prefill import Prefill, why_not
from engine.fused.rows import BFLOAT16, RowLayers, choose, product
from engine.fused.step import EMPTY, MOST_STOPS, Origin, q_scale_of, turns_of
from engine.fused.weights import FusedLayer, FusedWeights, fuse
from engine.generate import check_arguments
from engine.model import Model

PARTS = 2  # bfloat16 numbers that an activation becomes: 16 of its 24 bits
WARPS = 8  # of a block that looks for the largest logit
BLOCKS = 1024  # of them, where texts and logits suffice: as many as run at once on 128 multiprocessors
ATTENTION_WARPS = 4  # of a block
ATTENTION_BLOCKS = 512  # four at once on a multiprocessor
UNROLL = 2  # see kernels/decode/attend.cuh
STEPS_OF_A_GRAPH = 2  # between two graphs the GPU waits some microseconds
AHEAD = 4  # steps that are launched before the tokens of the first of them are known to the host
CHOOSING_S = 0.3  # for products' algorithms, at most: see `engine.cublaslt`


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
            self.splits, self.slices = self._splits(), self._slices()
            self.rows = RowLayers(
                config, texts, BFLOAT16, PARTS, stream=self.stream, SPLITS=self.splits, QKV_PARTS=PARTS, PARTS=PARTS,
                QK_NORM=int(self.weights.has_qk_norm),
            )  # fmt: skip
            heads, head_dim = config.num_attention_heads, config.head_dim
            self.parts = xp.zeros((texts, heads, self.splits, head_dim), np.float32)
            self.sums = xp.zeros((texts, heads, self.splits, 2), np.float32)
            self.best = xp.zeros((texts, self.slices), np.uint64)
            self.tickets = xp.zeros((texts, config.num_key_value_heads), np.int32)  # see kernels/rows/last_block.cuh
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
                self._choose()
                self._to_logits()  # of nothing: all is compiled and loaded then, which cannot be while a graph is recorded
            self.stream.synchronize()

    def _has_prefill(self) -> bool:
        return self.stream is not None and why_not(self.weights) is None

    def _splits(self) -> int:
        """Blocks that share a KV head's positions of one text: fewer where texts fill the GPU by themselves."""
        blocks = self.texts * self.config.num_key_value_heads
        return 1 if self.stream is None else max(1, min(8, ATTENTION_BLOCKS // blocks))

    def _slices(self) -> int:
        """Blocks that share a text's logits."""
        most = -(-self.config.vocab_size // (32 * WARPS))
        return max(1, min(most, BLOCKS // self.texts))

    def _choose(self) -> None:
        """Find the quickest way for all products of a step."""
        until = time.perf_counter() + CHOOSING_S
        self.rows.choose(self.weights.layers, PARTS, until)
        choose(self.rows.normed(PARTS), [self.weights.head.values], self.logits, until)

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
                self._graph_of_steps().run()
                launched += STEPS_OF_A_GRAPH
            chosen: list[int | None] = []
            tokens = self._wait_for(step, alive)
            for text, ids in enumerate(prompts):
                token = tokens[text] if alive[text] else None
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

    def _graph_of_steps(self) -> Graph:
        if self._graph is None:

            def steps() -> None:
                for _ in range(STEPS_OF_A_GRAPH):
                    self.step()

            self._graph = Graph(steps, self.stream)
        return self._graph

    def _to_logits(self) -> None:
        rows, weights, config = self.rows, self.weights, self.config
        grid, q_scale = (config.num_key_value_heads, self.splits, self.texts), q_scale_of(config)

        def attend(number: int, layer: FusedLayer) -> None:
            arguments = (
                rows.qkv, layer.q_norm, layer.k_norm, self.turns, self.caches.keys[number], self.caches.values[number],
                self.state, self.parts, self.sums, self.tickets, rows.attended, rows.epsilon, q_scale,
                np.int32(self.capacity),
            )  # fmt: skip
            rows.launch("attention", arguments, grid, WARPS=ATTENTION_WARPS, UNROLL=UNROLL)

        rows.begin()
        for number, layer in enumerate(weights.layers):
            rows.layer(layer, functools.partial(attend, number, layer), PARTS)
        product(rows.norm(weights.norm, PARTS), weights.head.values, self.logits)

    def _next_tokens(self, origin: Origin) -> None:
        arguments = (
            self.logits, self.best, self.tickets, np.int32(self.config.vocab_size), self.given, np.int32(origin),
            self.stops, self.weights.embedding, self.state, self.rows.hidden, self.tokens, np.int32(self.capacity),
        )  # fmt: skip
        grid = (self.slices if origin == Origin.LARGEST else 1, self.texts)
        self.rows.launch("next_tokens", arguments, grid, WARPS=WARPS)

    def _wait_for(self, step: int, wanted: Sequence[bool]) -> list[int]:
        """All texts' tokens of a step, once those that are wanted are there."""
        while True:
            ended = self.stream is None or self.stream.done  # asked before: what is missing then does not come any more
            tokens: list[int] = self.tokens[:, step].tolist()
            missing = [text for text, token in enumerate(tokens) if token == EMPTY and wanted[text]]
            if not missing:
                return tokens
            if ended:
                raise RuntimeError(f"the device has ended its work without token {step} of text {missing[0]}")
            time.sleep(0)
