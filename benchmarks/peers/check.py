"""Does a peer compute the model it says? Its logits and its tokens beside float32 arithmetic on the same weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from benchmarks import models
from benchmarks.peers import hugging_face, torch_weights
from benchmarks.peers.measure import Figures
from benchmarks.peers.protocol import Peer, Plan
from benchmarks.suites.greedy import compared, forced
from benchmarks.workers import one_line
from engine import device
from engine.fused.engine import FusedEngine
from engine.fused.weights import dequantized, quantize_rows
from engine.model import Model
from engine.ops.argmax import argmax


def figures(
    model: Model, plan: Plan, peers: Sequence[Peer], tokens: Mapping[str, Sequence[int]]
) -> Iterator[tuple[str, Figures]]:
    """How each peer's text agrees, and how far this engine's logits are off.

    Args:
        tokens: that each peer has chosen after the plan's prompt, by its name.

    Yields:
        A peer's name, and `equal`, `ties` and `wrong`: see `benchmarks.suites.greedy.compared`. Of this engine `error` too,
        ‖ours − float32's‖ / ‖float32's‖ over all positions, and `worst_error`, of a single position; and of this engine's
        texts side by side, how many were looked at.
    """
    models.exact_float32()
    for weights in ("bfloat16", "int8"):
        mine = [peer for peer in peers if peer.weights == weights]
        if not mine:
            continue
        try:
            exact = reference(model, weights)
        except (RuntimeError, MemoryError, ValueError) as error:
            yield from ((peer.name, {"failed": one_line(error)}) for peer in mine)
            continue
        for peer in mine:
            try:
                yield peer.name, of_peer(model, plan, peer, tokens.get(peer.name), exact)
            except Exception as error:
                yield peer.name, {"failed": one_line(error)}
        del exact
        if device.name() == "cuda":
            torch.cuda.empty_cache()


def of_peer(model: Model, plan: Plan, peer: Peer, tokens: Sequence[int] | None, exact: Any) -> Figures:
    """One peer's; with no tokens, one of this engine's writes them."""
    ids = plan.ids(plan.prompt, model.config.vocab_size)
    ours = peer.module == "ours"
    if ours and peer.options.get("several"):
        return several(model, plan, exact)
    if not ours:
        return {"not_run": "it has no text"} if tokens is None else against(tokens, ids, exact)
    engine = FusedEngine(model, len(ids) + plan.tokens, peer.weights)
    watching = Watching()
    watched = list(engine.generate(ids, plan.tokens, watching))
    expected = forced(exact, [*ids, *watched[:-1]], len(watched))
    got = np.array(watching.logits, np.float64)
    chosen = list(engine.generate(ids, plan.tokens)) if tokens is None else list(tokens)
    return {
        **errors(got, expected),
        **(compared(chosen, expected) if chosen == watched else against(chosen, ids, exact)),
    }


def errors(got: np.ndarray, expected: np.ndarray) -> Figures:
    """Relative errors of logits, [positions, vocabulary]."""
    rows = np.linalg.norm(got - expected, axis=1) / np.linalg.norm(expected, axis=1)
    return {
        "error": float(np.linalg.norm(got - expected) / np.linalg.norm(expected)), "worst_error": float(rows.max()),
    }  # fmt: skip


def against(tokens: Sequence[int], ids: Sequence[int], exact: Any) -> Figures:
    """Tokens beside those that float32 would have chosen, given the same text so far."""
    return compared(list(tokens), forced(exact, [*ids, *tokens[:-1]], len(tokens)))


def several(model: Model, plan: Plan, exact: Any) -> Figures:
    """The first and the last of the smallest number of texts."""
    from benchmarks.peers.ours import Batches

    texts = min((texts for texts in plan.batches if texts > 1), default=2)
    prompts = plan.prompts(texts, model.config.vocab_size)
    steps = list(Batches(model, plan.prompt + plan.tokens).go_on(prompts, plan.tokens))
    found = [
        against([token for step in steps if (token := step[n]) is not None], prompts[n], exact) for n in (0, texts - 1)
    ]
    return {"texts": len(found)} | {key: sum(one[key] for one in found) for key in ("tokens", "equal", "ties", "wrong")}


class Watching:
    """A strategy that takes the likeliest token, and keeps the logits."""

    def __init__(self) -> None:
        self.logits: list[np.ndarray] = []

    def choose(self, logits: Any, history: Any, step: int) -> Any:
        """The next token."""
        self.logits.append(np.array(device.to_host(logits)[0]))
        return argmax(logits)


def reference(model: Model, weights: str) -> Any:
    """Transformers in float32: with the bfloat16 weights, or with those that int8 numbers and their scales stand for."""
    if weights == "bfloat16":
        return hugging_face.build(
            hugging_face.config_of(model.config), torch_weights.state(model), torch.float32, "eager"
        )
    named: dict[str, Any] = {"model.embed_tokens.weight": model.embedding, "model.norm.weight": model.norm}
    for number, layer in enumerate(model.layers):
        named |= {f"model.layers.{number}.{name}": weight for name, weight in layer.items()}
    for name, weight in [*named.items(), ("lm_head.weight", model.head)]:
        if weight.ndim == 2 and "embed" not in name:
            named[name] = dequantized(quantize_rows(weight))
    state = {name: torch_weights.tensor(weight) for name, weight in named.items()}
    config = hugging_face.config_of(model.config, tie_word_embeddings=False)  # the output matrix is quantized alone
    return hugging_face.build(config, state, torch.float32, "eager")
