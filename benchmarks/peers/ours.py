"""This engine, by the calls that `generate` writes with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.peers.protocol import NotRun, Plan, Prepared
from engine.fused.engine import FusedEngine
from engine.model import Model


def prepare(model: Model, plan: Plan, weights: str = "bfloat16", several: bool = False) -> Prepared:
    """One text at a time, or several.

    Raises:
        NotRun: this engine does not write several texts at once, or not with these weights.
    """
    if several:
        return Prepared(go_on_all=Batches(model, plan.prompt + plan.tokens).go_on)
    engine = FusedEngine(model, min(plan.capacity, model.config.max_position_embeddings), weights)
    return Prepared(go_on=engine.generate, about={"weight_bytes": engine.step.weights.bytes_per_token})


class Batches:
    """Engines for several texts at once, one at a time: each is made for its number of texts."""

    def __init__(self, model: Model, capacity: int) -> None:
        try:
            from engine.fused.batch import BatchEngine
        except ModuleNotFoundError as error:
            if error.name != "engine.fused.batch":
                raise
            raise NotRun("engine/fused/batch.py, which writes several texts at once, is not there yet") from error
        self._make, self._model, self._capacity = BatchEngine, model, capacity
        self._engine: Any = None

    def go_on(self, prompts: Sequence[Sequence[int]], tokens: int) -> Iterator[Sequence[int | None]]:
        """See `benchmarks.peers.protocol.ContinueAll`."""
        if self._engine is None or self._engine.texts != len(prompts):
            self._engine = None  # its memory is free before the next one's is taken
            self._engine = self._make(self._model, len(prompts), self._capacity)
        out: Iterator[Sequence[int | None]] = self._engine.generate_batch(prompts, tokens)
        return out
