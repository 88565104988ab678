"""The fast engine: prefill, then fused decode steps that the host launches ahead of the tokens they choose."""

from __future__ import annotations

import time
from collections.abc import Container, Iterator, Sequence
from typing import Any

import numpy as np

from engine import device
from engine.evaluate import PromptError
from engine.fused import chain, cutting, prefill
from engine.fused.caches import stacked_caches
from engine.fused.persistent import PersistentStep
from engine.fused.prefill import Prefill
from engine.fused.step import EMPTY, DecodeStep, Origin
from engine.fused.tiles import tiles_of
from engine.fused.weights import fuse
from engine.generate import check_arguments
from engine.model import Model
from engine.ops.forward import forward
from engine.sampling import Greedy, Sampler

STEPS_OF_A_GRAPH = 4  # between two graphs the GPU waits a little; the last one may take steps in vain
FEW = 8  # tokens of a prompt that go through single steps as quickly as together, in the emulator
AHEAD = 8  # steps that are launched before the host knows the token of the first of them


class NoTokenError(ValueError):
    """The logits have a NaN, or nothing that can be chosen."""


def needs_no_history(strategy: Any) -> bool:
    """Whether a sampler can draw a token before the host knows those before it."""
    return isinstance(strategy, Sampler) and strategy.repetition_penalty == 1 and strategy.temperature > 0


class FusedEngine:
    """A model that writes one text at a time, as fast as its weights can be read.

    Args:
        model: on the device.
        capacity: tokens of a text, prompt included, that the cache has room for; default: the model's context, at most 4,096.
        weights: `bfloat16`, or `int8`: quantized here, with one scale for each row.
        chained: False to let each kernel start only when the one before has ended.

    Raises:
        ValueError: the fused kernels cannot run this model; the message names the field.
    """

    def __init__(
        self, model: Model, capacity: int | None = None, weights: str = "bfloat16", *, chained: bool = True
    ) -> None:
        context = model.config.max_position_embeddings
        self.capacity = min(context, 4096) if capacity is None else capacity
        check_arguments(model.config, [0], 0, self.capacity)
        self.model, self.config = model, model.config
        stacked = stacked_caches(model.config, self.capacity)
        self.caches = stacked.layers
        self.stream = chain.make_stream()
        self._chained = chained
        device.synchronize()  # the model may still be on its way, on another stream
        with chain.on(self.stream):
            fused, one_kernel = fuse(model, weights), cutting.as_one_kernel(model.config, weights)
            self.step = (
                DecodeStep(fused, model.frequencies, self.caches)
                if one_kernel is None
                else PersistentStep(fused, tiles_of(fused), model.frequencies, stacked, defines=one_kernel)
            )
            self._chosen, self._given = self.step.next_token(Origin.CHOSEN), self.step.next_token(Origin.GIVEN)
            self._prefill: Prefill | None = None
            if self.stream is not None and prefill.why_not(self.step.weights) is None:
                self._prefill = Prefill(self.step.weights, self.step.turns, self.caches, self.stream)
        # The emulator's steps have ended when they are launched: ahead of the host there is nothing to win.
        self._steps, self._ahead = (1, 1) if self.stream is None else (STEPS_OF_A_GRAPH, AHEAD)
        self._greedy: chain.Graph | None = None
        self._logits: chain.Graph | None = None
        self._text = 0  # the one that is being written
        self._history: list[int] = []  # of the last text
        self._held = 0  # so many of its tokens have their keys and values in the caches

    def generate(
        self, ids: Sequence[int], max_tokens: int, strategy: Any = None, stop_tokens: Container[int] = ()
    ) -> Iterator[int]:
        """Go on with a text.

        Args:
            ids: the prompt's tokens.
            max_tokens: at most so many are yielded.
            strategy: as `engine.generate.decode` takes it; default: the largest logit's token.
            stop_tokens: tokens that end the text and are not yielded.

        Returns:
            An iterator over the new tokens, as `engine.generate.generate` gives it. Another text ends this one.

        Raises:
            PromptError: the prompt has no place in the cache; at once, before the first token is asked for.
            ValueError: see `engine.generate.check_arguments`; at once too.
            NoTokenError: from the iterator.
        """
        if len(ids) > self.capacity:
            raise PromptError(
                f"the prompt has {len(ids):,} tokens: expected at most {self.capacity:,}, the cache's capacity"
            )
        check_arguments(self.config, ids, max_tokens, self.capacity)
        return self._generate([int(token) for token in ids], max_tokens, strategy or Greedy(), stop_tokens)

    def _generate(self, ids: list[int], max_tokens: int, strategy: Any, stop_tokens: Container[int]) -> Iterator[int]:
        if max_tokens == 0:
            return
        self.prefill(ids)
        stops = list(stop_tokens) if isinstance(stop_tokens, Sequence | set | frozenset) else []
        self._begin(len(ids) - 1, max_tokens, stops)
        self._give(ids[-1])
        text, history = self._text, list(ids)
        self._history = history
        for number, token in enumerate(self._tokens(strategy, history, max_tokens)):
            if token < 0:
                raise NoTokenError(f"token {number}: the logits have a NaN or nothing that can be chosen")
            if token in stop_tokens:
                return
            self._held = len(history)  # the step has put its input's keys and values into the caches
            history.append(token)
            yield token
            if text != self._text:
                raise RuntimeError("another text was begun: an engine writes one at a time")

    def prefill(self, ids: Sequence[int]) -> int:
        """The prompt but its last token through the model, into the caches; the last token is the first step's.

        In the emulator, what the caches hold of the last text already is kept: a conversation that goes on is not computed
        again. On a GPU the whole prompt takes milliseconds, and always goes through the same kernels.

        Returns:
            How many of its tokens were there already.
        """
        self.settle()
        if self._prefill is not None:
            with chain.on(self.stream):
                self._prefill.run(ids[:-1])
            return 0
        there = 0
        for mine, held in zip(ids[:-1], self._history[: self._held], strict=False):
            if mine != held:
                break
            there += 1
        self._history, self._held = list(ids[:-1]), 0  # until they are there
        new = ids[there:-1]
        if self.step.weights.kind == "bfloat16" and len(new) > FEW:
            with chain.on(self.stream):
                for cache in self.caches:
                    cache.length = there
                positions = device.to_device(np.arange(there, len(ids) - 1, dtype=np.int32))
                forward(self.model, device.to_device(np.array(new, np.int32)), positions, self.caches, last_only=True)
        else:
            for _logits in self.stepwise(new, there):
                pass
        self._held = len(ids) - 1
        return there

    def stepwise(self, ids: Sequence[int], position: int = 0) -> Iterator[Any]:
        """A text through the model in a decode step for each token, into the caches.

        Args:
            position: of the first of them; the caches hold what is before.

        Yields:
            [1, vocab_size] float32, on the device: logits after each token, valid until the next is asked for.
        """
        self.settle()
        self._held = 0
        self._begin(position, len(ids) + 1, ())
        for token in ids:
            self._give(token)
            self._logits_graph().run()
            self.settle()  # the caller reads them on another stream
            yield self.step.logits

    def forget(self) -> None:
        """Keep nothing of the last text: the next prompt is computed whole, whatever it begins with."""
        self._held = 0

    def settle(self) -> None:
        """Wait for all that was launched; some of it may be ahead of a text that is not wanted any more."""
        if self.stream is not None:
            self.stream.synchronize()

    def _begin(self, position: int, limit: int, stop_tokens: Sequence[int]) -> None:
        self._text += 1
        with chain.on(self.stream):
            self.step.begin(position, limit, stop_tokens)

    def _give(self, token: int) -> None:
        """A token of the text as the next step's."""
        with chain.on(self.stream):
            self.step.chosen[...] = int(token)
            self._given.run()

    def _tokens(self, strategy: Any, history: list[int], max_tokens: int) -> Iterator[int]:
        """Each token as it comes; steps are launched ahead as far as the strategy allows."""
        most = min(max_tokens, self.capacity - len(history) + 1)
        launched = 0
        for number in range(most):
            ahead = self._ahead if isinstance(strategy, Greedy) or needs_no_history(strategy) else 1
            while launched < min(number + ahead, most):
                if isinstance(strategy, Greedy):
                    self._greedy_graph().run()
                    launched += self._steps
                else:
                    self._choose(strategy, history, launched)
                    launched += 1
            yield self._wait_for(number)

    def _greedy_graph(self) -> chain.Graph:
        if self._greedy is None:
            self._greedy = self.step.greedy(self.stream, self._steps, self._chained)
        return self._greedy

    def _logits_graph(self) -> chain.Graph:
        if self._logits is None:
            self._logits = self.step.graph(self.step.to_logits(), self.stream, self._chained)
        return self._logits

    def _choose(self, strategy: Any, history: Sequence[int], number: int) -> None:
        """A step whose token a strategy chooses from the logits."""
        graph = self._logits_graph()
        with chain.on(self.stream):
            graph.run()
            if needs_no_history(strategy):
                weights = strategy.weights(strategy.scaled(self.step.logits, [()]))
                self.step.chosen[...] = strategy.draw(weights, number)
            else:
                self.step.chosen[...] = strategy.choose(self.step.logits, [history], number)
            self._chosen.run()

    def _wait_for(self, number: int) -> int:
        """The token of a step, once it is there."""
        if self.stream is not None:
            while self.step.tokens[number] == EMPTY:
                if (
                    self.stream.done and self.step.tokens[number] == EMPTY
                ):  # asks the driver, which raises what went wrong
                    raise RuntimeError(f"the device has ended its work without the token of step {number}")
                time.sleep(0)
        return int(self.step.tokens[number])
