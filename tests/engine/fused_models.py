"""Tiny models for tests of the fast engine."""

from __future__ import annotations

import numpy as np

from engine import config, device
from engine.model import Model, assemble
from grader.goldens import tiny

WIDE = {"hidden_size": 96, "intermediate_size": 208}  # multiples of 16, as int8 needs
CONFIGS = {
    "tiny-llama": {},
    "tiny-qwen3": {},
    "one head each": {"num_attention_heads": 2, "num_key_value_heads": 2, "hidden_size": 40},
    "seven heads of one": {"num_attention_heads": 7, "num_key_value_heads": 1, "head_dim": 64},
    "heads of 128": {"head_dim": 128, "num_attention_heads": 3, "num_key_value_heads": 3},
}


def fields_of(name: str, **changed: object) -> dict:
    return {**tiny.MODELS.get(name, tiny.LLAMA), **CONFIGS.get(name, {}), **changed}


def weights_of(name: str, **changed: object) -> dict[str, np.ndarray]:
    base = name if name in tiny.MODELS else "tiny-llama"
    return tiny.weights(base, **{**CONFIGS.get(name, {}), **changed})


def make_model(name: str, **changed: object) -> Model:
    weights = {key: device.to_device(w) for key, w in weights_of(name, **changed).items()}
    return assemble(config.parse(fields_of(name, **changed)), weights)


def ids_of(count: int, vocab: int, seed: int = 3) -> list[int]:
    return np.random.default_rng(seed).integers(0, vocab, count).tolist()


def error(got, expected) -> float:
    return float(np.linalg.norm(np.asarray(got, np.float64) - expected) / np.linalg.norm(expected))
