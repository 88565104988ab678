"""A model on the device: its weights in the shape in which the operations take them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine import config as configuration
from engine import device
from engine.config import Config

Layer = Mapping[str, Any]  # a layer's weights, by their names within it


@dataclass(frozen=True)
class Model:
    """Weights on the device: matrices bfloat16 [out, in], norms float32.

    Attributes:
        embedding: [vocab_size, hidden_size] bfloat16.
        layers: of each layer, by names such as `self_attn.q_proj.weight`.
        norm: [hidden_size] float32, before the output matrix.
        head: [vocab_size, hidden_size] bfloat16; the embedding itself where they are tied.
        frequencies: [head_dim / 2] float32, of the rotary pairs, radians a position.
    """

    config: Config
    embedding: Any
    layers: tuple[Layer, ...]
    norm: Any
    head: Any
    frequencies: Any


def assemble(config: Config, weights: Mapping[str, Any]) -> Model:
    """A model from weights that are on the device, by Hugging Face's names."""
    from engine.ops.rope import inverse_frequencies

    def of_layer(number: int) -> dict[str, Any]:
        prefix = f"model.layers.{number}."
        mine = {name[len(prefix) :]: w for name, w in weights.items() if name.startswith(prefix)}
        return {name: w.astype(np.float32) if w.ndim == 1 else w for name, w in mine.items()}

    embedding = weights["model.embed_tokens.weight"]
    frequencies = inverse_frequencies(config.head_dim, config.rope_theta, config.rope_scaling)
    return Model(
        config=config,
        embedding=embedding,
        layers=tuple(of_layer(n) for n in range(config.num_hidden_layers)),
        norm=weights["model.norm.weight"].astype(np.float32),
        head=weights.get("lm_head.weight", embedding),
        frequencies=device.to_device(np.asarray(frequencies, np.float32)),
    )


def load(path: Path) -> Model:
    """A model from its folder, or from a GGUF file (dequantized to bfloat16).

    Raises:
        ConfigError, WeightsError, GGUFError: what is wrong with which file.
    """
    if path.suffix == ".gguf":
        return _load_gguf(path)
    from engine import weights

    return assemble(configuration.read(path), weights.load_weights(path))


def _load_gguf(path: Path) -> Model:
    from engine import gguf_model
    from engine.weights import ELEMENT

    opened = gguf_model.GGUFModel(path)
    config = configuration.parse(opened.config(), str(path))
    return assemble(config, {name: device.to_device(values.astype(ELEMENT)) for name, values in opened.tensors()})
