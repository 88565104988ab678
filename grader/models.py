"""Real weights for checks: read from a model that was pulled, without loading all of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np


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
