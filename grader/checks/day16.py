"""Day 16, one decoder layer: every intermediate tensor, in order, on tiny models and on a real one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from grader import budget, llama
from grader.goldens import tiny
from grader.models import config, tensors
from grader.spec import BadInput, Case, DayChecks, LlamaConfig, Task

MODEL = "smollm2-135m"
NOTED = ("attention norm", "q", "k", "v", "attention", "after attention", "mlp norm", "output")
Fields = Mapping[str, Any]


def arguments(
    fields: Fields, weights: Mapping[str, np.ndarray], layer: int, x: np.ndarray, first: int = 0
) -> Sequence[Any]:
    """Arguments of a layer: its weights by their names within it, positions from `first` on."""
    prefix = f"model.layers.{layer}."
    mine = {n[len(prefix) :]: w for n, w in weights.items() if n.startswith(prefix)}
    mine = {n: w.astype(np.float32) if w.ndim == 1 else w for n, w in mine.items()}
    positions = np.arange(first, first + len(x), dtype=np.int32)
    frequencies = llama.inverse_frequencies(fields, fields["head_dim"]).astype(np.float32)
    return x.astype(np.float32), mine, LlamaConfig(fields), positions, frequencies


def tiny_layer(name: str, tokens: int, first: int = 0, **changed: Any) -> Callable[..., Sequence[Any]]:
    """A layer of a tiny model on a random stream, some fields of which may be others."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        fields = {**tiny.MODELS[name], **changed}
        x = rng.standard_normal((tokens, fields["hidden_size"])) * 2.0 ** rng.uniform(-1, 2, (tokens, 1))
        return arguments(fields, tiny.weights(name, int(rng.integers(1000))), 1, x, first)

    return make


def real_layer(number: int) -> Callable[..., Sequence[Any]]:
    """A layer of SmolLM2-135M on real embeddings, scaled as the stream is there."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        ids = rng.integers(0, 49152, 12)
        weights = tensors(MODEL, f"model.layers.{number}.")
        x = tensors(MODEL, "model.embed_tokens.weight")["model.embed_tokens.weight"][ids].astype(np.float32)
        return arguments(config(MODEL), weights, number, x * (1 + number))

    return make


def expected(x: np.ndarray, weights: Any, fields: LlamaConfig, positions: np.ndarray, _: Any) -> dict[str, np.ndarray]:
    """The layer in float64, or in the dtype of x where that is float64 already."""
    return trace(x.astype(np.float64), weights, fields, positions)


def trace(x: np.ndarray, weights: Any, fields: LlamaConfig, positions: np.ndarray) -> dict[str, np.ndarray]:
    """The noted tensors of a layer and what it returns, in the dtype of x."""
    out: dict[str, np.ndarray] = {}
    llama.decoder_layer(fields.fields, weights, x, positions, out)
    return {name: out[name] for name in NOTED} | {"returned": out["output"]}


def allowed(x: np.ndarray, weights: Any, fields: LlamaConfig, positions: np.ndarray, _: Any) -> dict[str, Any]:
    """From what the same formulas leave in float32."""
    return budget.float32_noise(trace(x, weights, fields, positions), expected(x, weights, fields, positions, None))


def later_tokens(name: str, tokens: int, first: int) -> Callable[..., Sequence[Any]]:
    """A text of which the first tokens go through the layer before the others."""
    return lambda rng: (*tiny_layer(name, tokens)(rng), first)


def expected_later(*args: Any) -> dict[str, np.ndarray]:
    """The same rows of the whole text's tensors."""
    *layer, first = args
    return {name: value[first:] for name, value in expected(*layer).items()}


def allowed_later(*args: Any) -> dict[str, Any]:
    """As for the whole text."""
    return allowed(*args[:-1])


def wide_stream(rng: np.random.Generator) -> Sequence[Any]:
    """A stream of one column too many."""
    x, *rest = tiny_layer("tiny-llama", 3)(rng)
    return np.ascontiguousarray(np.pad(x, ((0, 0), (0, 1)))), *rest


def few_positions(rng: np.random.Generator) -> Sequence[Any]:
    """One position too few."""
    x, weights, fields, positions, frequencies = tiny_layer("tiny-llama", 3)(rng)
    return x, weights, fields, positions[:-1].copy(), frequencies


LAYER = Task(
    function="traced_layer",
    oracle=expected,
    budget=allowed,
    cases=[
        Case("tiny Llama, 5 tokens", tiny_layer("tiny-llama", 5), count_costs=True),
        Case("tiny Llama, 1 token", tiny_layer("tiny-llama", 1)),
        Case("tiny Llama, 33 tokens", tiny_layer("tiny-llama", 33)),
        Case("tiny Llama, far into a text", tiny_layer("tiny-llama", 4, first=300)),
        Case("tiny Qwen3, 5 tokens", tiny_layer("tiny-qwen3", 5)),
        Case("tiny Qwen3, 17 tokens", tiny_layer("tiny-qwen3", 17)),
        Case("tiny Qwen3, an eps of 0.05", tiny_layer("tiny-qwen3", 3, rms_norm_eps=0.05)),
        Case("SmolLM2-135M, layer 0", real_layer(0)),
        Case("SmolLM2-135M, layer 29", real_layer(29)),
    ],
    bad_input=[
        BadInput("a stream that is too wide", wide_stream, "x"),
        BadInput("a position too few", few_positions, "positions"),
    ],
    cost_limits={"launches": 1.05, "global bytes": 1.1},
)

CONTINUED = Task(
    function="continued_layer",
    oracle=expected_later,
    budget=allowed_later,
    cases=[
        Case("tiny Llama, 5 tokens, then 3 with a cache", later_tokens("tiny-llama", 8, first=5)),
        Case("tiny Qwen3, 6 tokens, then 1 with a cache", later_tokens("tiny-qwen3", 7, first=6)),
    ],
)

CHECKS = DayChecks([LAYER, CONTINUED])
