"""Arguments as a lesson gets them: arrays on its device, configurations and models as the engine has them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from engine import device
from grader.spec import Llama, LlamaConfig, Part


def on_device(value: Any) -> Any:
    """The value with every array in it on the device."""
    match value:
        case np.ndarray():
            return device.to_device(value)
        case Part():
            array = device.to_device(value.values)
            larger = device.xp.empty(array.size + 1, array.dtype)
            larger[1:] = array.reshape(-1)
            return larger[1:].reshape(array.shape)
        case LlamaConfig():
            from engine import config

            return config.parse(value.fields)
        case Llama() if value.pulled:
            return _loaded(Path(value.pulled))
        case Llama():
            from engine import config, model

            return model.assemble(config.parse(value.fields), on_device(value.weights))
        case Mapping():
            return {key: on_device(inner) for key, inner in value.items()}
        case list() | tuple():
            return type(value)([on_device(inner) for inner in value])
    return value


@functools.cache
def _loaded(folder: Path) -> Any:
    """A model that was pulled; it takes a while, and no lesson writes to its weights."""
    from engine import model

    return model.load(folder)
