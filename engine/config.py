"""What a model is made of: sizes and constants, read from Hugging Face's config.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ARCHITECTURES = {"LlamaForCausalLM": False, "Qwen3ForCausalLM": True}  # whether each head of Q and K is normalised
ROPE_TYPES = ("default", "llama3")


class ConfigError(ValueError):
    """A config.json that the engine cannot run; the message names the file, the field and what was expected."""


@dataclass(frozen=True)
class RopeScaling:
    """How Llama 3.1 and later stretch rotary wavelengths (Hugging Face's rope type `llama3`).

    Attributes:
        factor: long wavelengths become so many times as long.
        low_freq_factor, high_freq_factor: wavelengths above context / low are stretched, below context / high are kept.
        original_max_position_embeddings: the context, in tokens, that the model was first trained with.
    """

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position_embeddings: int


@dataclass(frozen=True)
class Config:
    """A Llama or Qwen3 model.

    Attributes:
        hidden_size: length of the residual stream, numbers a token.
        intermediate_size: of the MLP.
        num_hidden_layers, num_attention_heads, num_key_value_heads: counts.
        head_dim: numbers in one head; not always hidden_size / num_attention_heads.
        vocab_size: tokens.
        max_position_embeddings: the context, in tokens.
        rms_norm_eps: under the root of each norm.
        rope_theta: base of the rotary wavelengths.
        rope_scaling: None where they are not scaled.
        tie_word_embeddings: whether the output matrix is the embedding.
        qk_norm: whether each head of Q and K is normalised (Qwen3).
        eos_token_ids: tokens that end a text.
        bos_token_id: the token that begins one, if any.
    """

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    max_position_embeddings: int
    rms_norm_eps: float
    rope_theta: float
    rope_scaling: RopeScaling | None
    tie_word_embeddings: bool
    qk_norm: bool
    eos_token_ids: tuple[int, ...]
    bos_token_id: int | None


def read(folder: Path) -> Config:
    """The configuration of a model's folder.

    Raises:
        ConfigError: config.json is missing, is no JSON object, or describes a model that the engine cannot run.
    """
    path = Path(folder) / "config.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file; a model's folder has config.json") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: not JSON: {error}") from error
    return parse(content, str(path))


def parse(content: Any, where: str = "config.json") -> Config:
    """The configuration in the words of Hugging Face.

    Args:
        content: of config.json.
        where: the file, for messages.

    Raises:
        ConfigError: names the file, the field and what was expected.
    """
    if not isinstance(content, Mapping):
        raise ConfigError(f"{where}: holds {type(content).__name__}: expected an object")
    fields = _Fields(content, where)
    architecture = (content.get("architectures") or [None])[0]
    if architecture not in ARCHITECTURES:
        raise ConfigError(f"{where}: architectures is {architecture!r}: expected one of {', '.join(ARCHITECTURES)}")
    for field in ("attention_bias", "mlp_bias"):
        if content.get(field):
            raise ConfigError(f"{where}: {field} is true: models with biases are not supported")
    if content.get("hidden_act", "silu") not in ("silu", "swish"):
        raise ConfigError(f"{where}: hidden_act is {content['hidden_act']!r}: expected 'silu'")
    if content.get("use_sliding_window"):
        raise ConfigError(f"{where}: use_sliding_window is true: sliding windows are not supported")
    hidden, heads = fields.count("hidden_size"), fields.count("num_attention_heads")
    kv_heads = fields.count("num_key_value_heads", heads)
    if heads % kv_heads:
        raise ConfigError(
            f"{where}: num_attention_heads is {heads}: expected a multiple of num_key_value_heads, {kv_heads}"
        )
    if content.get("head_dim") is None and hidden % heads:
        raise ConfigError(f"{where}: head_dim is missing, and hidden_size {hidden} is no multiple of {heads} heads")
    head_dim = fields.count("head_dim", hidden // heads)
    if head_dim % 2:
        raise ConfigError(f"{where}: head_dim is {head_dim}: expected an even number, for rotary pairs")
    theta, scaling = _rope(fields)
    return Config(
        hidden_size=hidden,
        intermediate_size=fields.count("intermediate_size"),
        num_hidden_layers=fields.count("num_hidden_layers"),
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        vocab_size=fields.count("vocab_size"),
        max_position_embeddings=fields.count("max_position_embeddings", 2048),
        rms_norm_eps=fields.number("rms_norm_eps", 1e-6),
        rope_theta=theta,
        rope_scaling=scaling,
        tie_word_embeddings=bool(content.get("tie_word_embeddings", False)),
        qk_norm=ARCHITECTURES[architecture],
        eos_token_ids=_tokens(content.get("eos_token_id"), "eos_token_id", where),
        bos_token_id=next(iter(_tokens(content.get("bos_token_id"), "bos_token_id", where)), None),
    )


class _Fields:
    """Fields with their types checked."""

    def __init__(self, content: Mapping[str, Any], where: str) -> None:
        self.content, self.where = content, where

    def count(self, name: str, default: int | None = None) -> int:
        """A positive whole number."""
        value = self.content.get(name)
        value = default if value is None else value
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigError(f"{self.where}: {name} is {_shown(value)}: expected a positive whole number")
        return value

    def number(self, name: str, default: float | None = None) -> float:
        """A positive number."""
        value = self.content.get(name)
        value = default if value is None else value
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
            raise ConfigError(f"{self.where}: {name} is {_shown(value)}: expected a positive number")
        return float(value)


def _shown(value: Any) -> str:
    return "missing" if value is None else repr(value)


def _rope(fields: _Fields) -> tuple[float, RopeScaling | None]:
    """Theta and scaling: in `rope_scaling` beside `rope_theta`, or both in `rope_parameters` (Transformers 5)."""
    content, where = fields.content, fields.where
    name = "rope_parameters" if content.get("rope_parameters") else "rope_scaling"
    given = content.get(name) or {}
    if not isinstance(given, Mapping):
        raise ConfigError(f"{where}: {name} is {given!r}: expected an object")
    inner = _Fields(given, f"{where}: {name}")
    theta = inner.number("rope_theta") if "rope_theta" in given else fields.number("rope_theta", 10000.0)
    kind = given.get("rope_type") or given.get("type") or "default"
    if kind not in ROPE_TYPES:
        raise ConfigError(f"{where}: {name}: rope_type is {kind!r}: expected one of {', '.join(ROPE_TYPES)}")
    if kind == "default":
        return theta, None
    low, high = inner.number("low_freq_factor"), inner.number("high_freq_factor")
    if not low < high:
        raise ConfigError(f"{where}: {name}: low_freq_factor is {low:g}: expected less than high_freq_factor, {high:g}")
    return theta, RopeScaling(inner.number("factor"), low, high, inner.count("original_max_position_embeddings"))


def _tokens(value: Any, name: str, where: str) -> tuple[int, ...]:
    """One token id, several, or none."""
    ids = [] if value is None else value if isinstance(value, list) else [value]
    if not all(isinstance(i, int) and not isinstance(i, bool) and i >= 0 for i in ids):
        raise ConfigError(f"{where}: {name} is {value!r}: expected a token id or a list of them")
    return tuple(ids)
