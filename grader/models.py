"""Real weights for checks: read from a model that was pulled, without loading all of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from grader import llama


class ModelMissing(Exception):  # noqa: N818  (not an error of anybody: the check is NOT RUN)
    """The model has not been pulled; the message is the command that gets it."""


def folder(name: str) -> Path:
    """Where the model lies.

    Raises:
        ModelMissing: it has not been pulled.
    """
    from engine import hub

    found = hub.find(name)
    if found is None:
        raise ModelMissing(f"the model is not here: python -m engine pull {name}")
    return found


def tensor_rows(name: str, tensor: str, indices: np.ndarray | None = None) -> np.ndarray:
    """A tensor of a model, or some of its rows.

    Raises:
        ModelMissing: the model has not been pulled.
    """
    from safetensors import safe_open

    with safe_open(str(folder(name) / "model.safetensors"), framework="numpy") as file:
        if indices is None:
            return np.ascontiguousarray(file.get_tensor(tensor))
        view = file.get_slice(tensor)
        return np.concatenate([view[int(i) : int(i) + 1] for i in indices])


def layer_trace(name: str, layer: int, ids: np.ndarray) -> llama.Trace:
    """Intermediate tensors of a layer on the embeddings of some tokens, in float64: see `llama.decoder_layer`.

    Raises:
        ModelMissing: the model has not been pulled.
    """
    prefix = f"model.layers.{layer}."
    weights = {key[len(prefix) :]: tensor for key, tensor in tensors(name, prefix).items()}
    x = tensor_rows(name, "model.embed_tokens.weight", ids).astype(np.float64)
    trace: llama.Trace = {}
    llama.decoder_layer(config(name), weights, x, np.arange(len(ids)), trace)
    return trace


def config(name: str) -> dict[str, Any]:
    """A model's config.json, with `head_dim` in it.

    Raises:
        ModelMissing: the model has not been pulled.
    """
    fields: dict[str, Any] = json.loads((folder(name) / "config.json").read_text(encoding="utf-8"))
    fields["head_dim"] = fields.get("head_dim") or fields["hidden_size"] // fields["num_attention_heads"]
    return fields


def tensors(name: str, prefix: str) -> dict[str, np.ndarray]:
    """All tensors of a model whose names begin so.

    Raises:
        ModelMissing: the model has not been pulled.
    """
    from safetensors import safe_open

    with safe_open(str(folder(name) / "model.safetensors"), framework="numpy") as file:
        return {key: file.get_tensor(key) for key in file.keys() if key.startswith(prefix)}  # noqa: SIM118
