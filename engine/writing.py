"""What writes a model's texts: the fused steps, or the plain loop of day 21."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any, NamedTuple

from engine.generate import generate
from engine.model import Model
from engine.weights import bytes_per_token


class Writer(NamedTuple):
    """What writes a model's texts.

    Attributes:
        write: `(ids, max_tokens, strategy, stop_tokens) -> tokens`; see `engine.generate.generate`.
        kind: `fused` or `plain`.
        weight_bytes: that a decode step reads at least.
        forget: keep nothing of the text before, so that the next prompt is computed whole.
    """

    write: Callable[[Sequence[int], int, Any, Container[int]], Iterator[int]]
    kind: str
    weight_bytes: int
    forget: Callable[[], None]


def open_writer(model: Model, capacity: int, weights: str = "bfloat16", *, plain: bool = False) -> Writer:
    """What writes a model's texts.

    Args:
        capacity: tokens of a text, prompt included; at most the model's context.
        weights: `bfloat16` or `int8`.
        plain: take the plain loop of day 21, which runs on the learner's pieces.

    Returns:
        The fused steps; or the loop of day 21, which also runs models whose sizes the fused kernels do not take. A student
        edition has no fused kernels: they are what its later days build.

    Raises:
        ValueError: int8 weights need the fused kernels, and these are not to be had.
    """
    loop = Writer(functools.partial(generate, model), "plain", bytes_per_token(model.config), lambda: None)
    if plain or importlib.util.find_spec("engine.fused") is None:
        if weights != "bfloat16":
            raise ValueError(f"weights is {weights!r}: the plain loop takes bfloat16")
        return loop
    from engine.fused.engine import FusedEngine
    from engine.fused.weights import check_sizes

    try:
        check_sizes(model.config, weights)
    except ValueError:
        if weights != "bfloat16":
            raise
        return loop
    engine = FusedEngine(model, min(capacity, model.config.max_position_embeddings), weights)
    return Writer(engine.generate, "fused", engine.step.weights.bytes_per_token, engine.forget)
