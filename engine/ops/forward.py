"""Day 17: the whole model, from token ids to logits."""

from collections.abc import Sequence
from typing import Any

from engine.model import Model
from engine.ops.arguments import INT32, check_array
from engine.ops.decoder_layer import Note, Past, decoder_layer, ignore, keep_in
from engine.ops.embedding import embedding
from engine.ops.linear import linear
from engine.ops.rmsnorm import rmsnorm


def forward(
    model: Model,
    ids: Any,
    positions: Any,
    caches: Sequence[Any] | None = None,
    last_only: bool = False,
    note: Note = ignore,
) -> Any:
    """Logits: for each position, how well each token of the vocabulary would go on from there.

    Args:
        model: weights on the device.
        ids: [tokens] int32, each in [0, vocab_size); at least one.
        positions: [tokens] int32, of these tokens in the text.
        caches: None, or one for each layer (see day 16).
        last_only: compute the last position's logits only: the output matrix is the largest of all.
        note: told each intermediate tensor, named `embedding`, `layer 3 attention`, …, `final norm`, `logits`.

    Returns:
        [tokens, vocab_size] float32; with last_only [1, vocab_size].

    Raises:
        ValueError: the message names the argument, what it is and what was expected.
    """
    check_array("ids", ids, ("tokens",), INT32)
    check_array("positions", positions, (ids.shape[0],), INT32)
    if ids.shape[0] == 0:
        raise ValueError("ids is empty: expected at least one token")
    # solve: begin
    # stub: raise NotImplementedError("day 17: embedding, every layer, the final norm, the output matrix")
    x = embedding(ids, model.embedding).astype("float32")
    note("embedding", x)
    for number, weights in enumerate(model.layers):

        def note_layer(name: str, tensor: Any, number: int = number) -> None:
            note(f"layer {number} {name}", tensor)

        cache = None if caches is None else caches[number]
        x = decoder_layer(x, weights, model.config, positions, model.frequencies, cache, note_layer)
    if last_only:
        x = x[-1:]
    x = rmsnorm(x, model.norm, model.config.rms_norm_eps)
    note("final norm", x)
    logits = linear(x, model.head)
    note("logits", logits)
    return logits
    # solve: end


# ---- for the grading ------------------------------------------------------------------------------------------------


def traced_forward(model: Model, ids: Any, positions: Any, last_only: bool = False) -> dict[str, Any]:
    """The model's intermediate tensors by name, in the order in which they come, and what it returns."""
    trace: dict[str, Any] = {}
    returned = forward(model, ids, positions, None, last_only, keep_in(trace))
    return {**trace, "returned": returned}


def continued_forward(model: Model, ids: Any, positions: Any, first: int) -> dict[str, Any]:
    """The same of the tokens from `first` on, in a pass of their own: the layers' caches have the ones before."""
    trace: dict[str, Any] = {}
    caches = [Past() for _ in model.layers]
    for tokens in (slice(first), slice(first, None)):
        returned = forward(model, ids[tokens], positions[tokens], caches, False, keep_in(trace))
    return {**trace, "returned": returned}
