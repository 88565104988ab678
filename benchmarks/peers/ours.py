"""This engine, by the calls that `generate` writes with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.peers.protocol import Plan, Prepared
from engine.fused.batch import BatchEngine
from engine.fused.engine import FusedEngine
from engine.model import Model


def prepare(model: Model, plan: Plan, weights: str = "bfloat16", several: bool = False) -> Prepared:
    """One text at a time, or several.

    Raises:
        ValueError: these kernels cannot run this model.
    """
    if several:
        return Prepared(go_on_all=Batches(model, plan.prompt + plan.tokens).go_on)
    engine = FusedEngine(model, min(plan.capacity, model.config.max_position_embeddings), weights)
    return Prepared(go_on=engine.generate, about={"weight_bytes": engine.step.weights.bytes_per_token})


class Batches:
    """Engines for several texts at once, one at a time: each is made for its number of texts."""

    def __init__(self, model: Model, capacity: int) -> None:
        self._model, self._capacity = model, capacity
        self._engine: BatchEngine | None = None

    def go_on(self, prompts: Sequence[Sequence[int]], tokens: int) -> Iterator[Sequence[int | None]]:
        """See `benchmarks.peers.protocol.ContinueAll`."""
        if self._engine is None or self._engine.texts != len(prompts):
            self._engine = None  # its memory is free before the next one's is taken
            self._engine = BatchEngine(self._model, len(prompts), self._capacity)
        return self._engine.generate_batch(prompts, tokens)
