"""A prompt through a model, checked before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from engine import device
from engine.model import Model


class PromptError(ValueError):
    """A prompt that a model cannot take; the message says what was expected."""


def check_prompt(ids: Sequence[int], vocab_size: int, context: int) -> Any:
    """Refuse what is empty, too long, or not of this vocabulary.

    Returns:
        [tokens] int32, on the device.

    Raises:
        PromptError: it is empty or too long.
        ValueError: an id is not of this vocabulary (see `engine.ops.embedding.token_ids`).
    """
    from engine.ops.embedding import token_ids

    if len(ids) == 0:
        raise PromptError("the prompt is empty: expected at least one token")
    if len(ids) > context:
        raise PromptError(f"the prompt has {len(ids):,} tokens: expected at most {context:,}, the model's context")
    return token_ids(ids, vocab_size)


def logits(model: Model, ids: Sequence[int], *, all_positions: bool = False, note: Any = None) -> np.ndarray:
    """Logits after a prompt.

    Args:
        ids: the prompt's tokens.
        all_positions: of every position, not of the last only.
        note: told the name and value of each intermediate tensor, on the device.

    Returns:
        [vocab_size] float32, on the host; with all_positions [tokens, vocab_size].

    Raises:
        PromptError, ValueError: see `check_prompt`.
    """
    from engine.ops.decoder_layer import ignore
    from engine.ops.forward import forward

    tokens = check_prompt(ids, model.config.vocab_size, model.config.max_position_embeddings)
    positions = device.to_device(np.arange(len(ids), dtype=np.int32))
    out = device.to_host(forward(model, tokens, positions, last_only=not all_positions, note=note or ignore))
    return out if all_positions else out[0]
