"""The caches of all layers in one piece of memory, as a kernel that goes through all layers wants them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from engine import device
from engine.cache import LayerCache, make_caches
from engine.config import Config


@dataclass(frozen=True)
class StackedCaches:
    """Keys and values of all layers.

    Attributes:
        keys, values: [layers, capacity, kv_heads, head_dim] float32, on the device.
        layers: each layer's cache, in the same memory.
    """

    keys: Any
    values: Any
    layers: list[LayerCache]


def stacked_caches(config: Config, capacity: int) -> StackedCaches:
    """Caches for a text of up to `capacity` tokens; what is in them means nothing.

    Raises:
        ValueError: see `LayerCache`.
    """
    layers = make_caches(config, 1)
    shape = (len(layers), capacity, config.num_key_value_heads, config.head_dim)
    keys, values = (device.xp.zeros(shape, np.float32) for _ in range(2))
    for number, layer in enumerate(layers):
        layer.capacity, layer.keys, layer.values = capacity, keys[number], values[number]
    return StackedCaches(keys, values, layers)
