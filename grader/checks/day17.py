"""Day 17, the whole model: every tensor of tiny models, and Hugging Face's logits of a real one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from grader import budget, goldens, llama
from grader.checks.day16 import NOTED
from grader.goldens import tiny
from grader.spec import Allowed, BadInput, Case, DayChecks, Llama, Task

MODEL = "smollm2-135m"


def tiny_text(name: str, tokens: int, last_only: bool = False, **changed: Any) -> Callable[..., Sequence[Any]]:
    """Random tokens for a tiny model, some fields of which may be others."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        fields = {**tiny.MODELS[name], **changed}
        ids = rng.integers(0, fields["vocab_size"], tokens).astype(np.int32)
        model = Llama(fields, tiny.weights(name, int(rng.integers(1000)), **changed))
        return model, ids, np.arange(tokens, dtype=np.int32), last_only

    return make


def trace(model: Llama, ids: np.ndarray, last_only: bool, dtype: Any) -> dict[str, np.ndarray]:
    """The noted tensors of a model, and what it returns."""
    every: dict[str, np.ndarray] = {}
    llama.forward(model.fields, model.weights, ids, every, dtype)
    layers = (f"layer {n} {name}" for n in range(model.fields["num_hidden_layers"]) for name in NOTED)
    out = {name: every[name] for name in ("embedding", *layers, "final norm", "logits")}
    if last_only:
        out |= {name: out[name][-1:] for name in ("final norm", "logits")}
    return out | {"returned": out["logits"]}


def expected(model: Llama, ids: np.ndarray, _positions: Any, last_only: bool) -> dict[str, np.ndarray]:
    """The model in float64."""
    return trace(model, ids, last_only, np.float64)


def allowed(model: Llama, ids: np.ndarray, _positions: Any, last_only: bool) -> dict[str, Any]:
    """From what the same formulas leave in float32."""
    return budget.float32_noise(trace(model, ids, last_only, np.float32), trace(model, ids, last_only, np.float64))


def continued(name: str, tokens: int, first: int) -> Callable[..., Sequence[Any]]:
    """Random tokens, the first of which go through the model before the others."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        model, ids, positions, _ = tiny_text(name, tokens)(rng)
        return model, ids, positions, first

    return make


def expected_later(model: Llama, ids: np.ndarray, _positions: Any, first: int) -> dict[str, np.ndarray]:
    """The same rows of the whole text's tensors."""
    return {name: value[first:] for name, value in trace(model, ids, False, np.float64).items()}


def allowed_later(model: Llama, ids: np.ndarray, positions: Any, _first: int) -> dict[str, Any]:
    """As for the whole text."""
    return allowed(model, ids, positions, False)


def prompt(label: str) -> Callable[..., Sequence[Any]]:
    """A prompt whose answer from Transformers is stored."""

    def make(_rng: np.random.Generator) -> Sequence[Any]:
        ids = np.array(goldens.load(MODEL)["prompts"][label]["ids"], np.int32)
        return Llama(pulled=MODEL), ids, np.arange(len(ids), dtype=np.int32), None, True

    return make


def golden(ids: np.ndarray) -> dict[str, Any]:
    """What is stored for these tokens."""
    return next(p for p in goldens.load(MODEL)["prompts"].values() if p["ids"] == ids.tolist())


def stored_logits(_model: Llama, ids: np.ndarray, *_: Any) -> np.ndarray:
    """Transformers' logits, those that are kept."""
    return np.array([golden(ids)["logits"]])


def kept(args: Sequence[Any], logits: np.ndarray) -> np.ndarray:
    """The same of ours."""
    return logits[:, golden(args[1])["logit_ids"]]


def logits_allowed(_model: Llama, ids: np.ndarray, *_: Any) -> Allowed:
    """The tolerance, of the logits' root mean square."""
    answer = golden(ids)
    return Allowed(0.0, budget.LOGITS_OFF * answer["logit_norm"] / np.sqrt(49152))


def no_tokens(rng: np.random.Generator) -> Sequence[Any]:
    """An empty text."""
    model, ids, positions, _ = tiny_text("tiny-qwen3", 1)(rng)
    return model, ids[:0].copy(), positions[:0].copy(), None, False


def too_many_positions(rng: np.random.Generator) -> Sequence[Any]:
    """A position without a token."""
    model, ids, positions, _ = tiny_text("tiny-qwen3", 3)(rng)
    return model, ids[:2].copy(), positions, None, False


EVERY_TENSOR = Task(
    function="traced_forward",
    oracle=expected,
    budget=allowed,
    cases=[
        Case("tiny Llama, 1 token", tiny_text("tiny-llama", 1)),
        Case("tiny Llama, 9 tokens", tiny_text("tiny-llama", 9)),
        Case("tiny Llama, the last of 20", tiny_text("tiny-llama", 20, last_only=True)),
        Case("tiny Qwen3, 7 tokens", tiny_text("tiny-qwen3", 7)),
        Case("tiny Qwen3, an eps of 0.05", tiny_text("tiny-qwen3", 3, rms_norm_eps=0.05)),
        Case("tiny Qwen3, the last of 33", tiny_text("tiny-qwen3", 33, last_only=True)),
        Case(
            "a large vocabulary, the last of 20",
            tiny_text("tiny-qwen3", 20, last_only=True, num_hidden_layers=1, vocab_size=3000),
            count_costs=True,
        ),
    ],
    cost_limits={"shared wavefronts": 1.5, "launches": 1.1, "global bytes": 1.5},
)
CONTINUED = Task(
    function="continued_forward",
    oracle=expected_later,
    budget=allowed_later,
    cases=[
        Case("tiny Llama, 4 tokens, then 3 with caches", continued("tiny-llama", 7, first=4)),
        Case("tiny Qwen3, 5 tokens, then 1 with caches", continued("tiny-qwen3", 6, first=5)),
    ],
)
LOGITS = Task(
    function="forward",
    oracle=stored_logits,
    budget=logits_allowed,
    dtype=lambda *_: np.dtype(np.float32),
    compared=kept,
    cases=[
        Case(f"SmolLM2-135M: {label}, as Transformers", prompt(label)) for label in ("one token", "capital", "unicode")
    ],
    bad_input=[
        BadInput("no tokens", no_tokens, "ids"),
        BadInput("a position too many", too_many_positions, "positions"),
    ],
)

CHECKS = DayChecks([EVERY_TENSOR, CONTINUED, LOGITS])
