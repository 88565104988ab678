"""Llama and Qwen3 in float64 with NumPy: the oracle for whole layers and models, written from the definitions.

It shares no code with the engine. Stored answers of Hugging Face Transformers show that it is right (test_llama.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray
Trace = dict[str, Array]


def forward(
    config: Mapping[str, Any],
    weights: Mapping[str, Array],
    ids: Array,
    trace: Trace | None = None,
    dtype: type[np.floating[Any]] = np.float64,
) -> Array:
    """Logits of every position.

    Args:
        config: Hugging Face's config.json.
        weights: by Hugging Face's names, any float dtype.
        ids: [T] token ids.
        trace: filled with every intermediate tensor, by names such as `layer 3 attention`, in order.
        dtype: of all arithmetic; float32 shows what rounding leaves.

    Returns:
        [T, vocabulary].
    """
    trace = {} if trace is None else trace
    embedding = weights["model.embed_tokens.weight"]
    x = embedding[ids].astype(dtype)
    trace["embedding"] = x
    positions = np.arange(len(ids))
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        mine = {name[len(prefix) :]: w for name, w in weights.items() if name.startswith(prefix)}
        x = decoder_layer(config, mine, x, positions, trace, f"layer {layer} ")
    x = rmsnorm(x, weights["model.norm.weight"], config["rms_norm_eps"])
    trace["final norm"] = x
    head = weights.get("lm_head.weight", embedding)
    logits = linear(x, head)
    trace["logits"] = logits
    return logits


def decoder_layer(
    config: Mapping[str, Any], weights: Mapping[str, Array], x: Array, positions: Array, trace: Trace, name: str = ""
) -> Array:
    """One layer on [T, hidden], in the dtype of x; `weights` by the names within a layer, such as `self_attn.q_proj.weight`."""
    eps = config["rms_norm_eps"]
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    head_dim = config.get("head_dim") or config["hidden_size"] // heads
    tokens = len(x)
    normed = trace[f"{name}attention norm"] = rmsnorm(x, weights["input_layernorm.weight"], eps)
    q, k, v = (
        linear(normed, weights[f"self_attn.{which}_proj.weight"]).reshape(tokens, count, head_dim)
        for which, count in (("q", heads), ("k", kv_heads), ("v", kv_heads))
    )
    if "self_attn.q_norm.weight" in weights:  # Qwen3: each head of Q and K is normalised
        q = rmsnorm(q, weights["self_attn.q_norm.weight"], eps)
        k = rmsnorm(k, weights["self_attn.k_norm.weight"], eps)
    frequencies = inverse_frequencies(config, head_dim)
    q, k = rope(q, positions, frequencies), rope(k, positions, frequencies)
    trace[f"{name}q"], trace[f"{name}k"], trace[f"{name}v"] = q, k, v
    mixed = trace[f"{name}attention"] = attention(q, k, v)
    x = x + linear(mixed.reshape(tokens, heads * head_dim), weights["self_attn.o_proj.weight"])
    trace[f"{name}after attention"] = x
    normed = trace[f"{name}mlp norm"] = rmsnorm(x, weights["post_attention_layernorm.weight"], eps)
    gate, up = linear(normed, weights["mlp.gate_proj.weight"]), linear(normed, weights["mlp.up_proj.weight"])
    inner = trace[f"{name}swiglu"] = gate / (1 + np.exp(-gate)) * up
    x = x + linear(inner, weights["mlp.down_proj.weight"])
    trace[f"{name}output"] = x
    return x


def rmsnorm(x: Array, weight: Array, eps: float) -> Array:
    """Zhang and Sennrich (2019), equation 4, over the last axis."""
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps) * weight.astype(x.dtype)


def linear(x: Array, weight: Array) -> Array:
    """X times the transposed weight."""
    return x @ weight.astype(x.dtype).T


def inverse_frequencies(config: Mapping[str, Any], head_dim: int) -> Array:
    """Radians a position for each pair, with the scaling of Llama 3.1 where the config has it, in float64."""
    given = config.get("rope_parameters") or {}
    theta = given.get("rope_theta") or config.get("rope_theta", 10000.0)
    frequencies = float(theta) ** (-np.arange(0, head_dim, 2) / head_dim)
    scaling = config.get("rope_scaling") or given
    if (scaling.get("rope_type") or scaling.get("type") or "default") == "default":
        return frequencies
    # Llama 3.1's `use_scaled_rope`: long wavelengths are stretched, short ones kept, those between blended.
    factor, original = scaling["factor"], scaling["original_max_position_embeddings"]
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    turns = original * frequencies / (2 * np.pi)  # in the context that the model was trained with
    blend = np.clip((turns - low) / (high - low), 0, 1)
    return frequencies * (blend + (1 - blend) / factor)


def rope(x: Array, positions: Array, frequencies: Array) -> Array:
    """Rotate the pairs (i, i + head_dim/2) of [T, heads, head_dim] (Su et al. 2021, section 3.2.2; half-split as in HF)."""
    angle = positions.astype(x.dtype)[:, None, None] * frequencies.astype(x.dtype)
    a, b = np.split(x, 2, axis=-1)
    return np.concatenate([a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)], axis=-1)


def attention(q: Array, k: Array, v: Array) -> Array:
    """Causal attention of [T, heads, head_dim] over [S, kv_heads, head_dim]; the last query stands at the last position."""
    tokens, heads, head_dim = q.shape
    length, kv_heads, _ = k.shape
    visible = np.arange(length) <= np.arange(length - tokens, length)[:, None]
    out = np.empty_like(q)
    for head in range(heads):
        shared = head // (heads // kv_heads)
        scores = np.where(visible, q[:, head] @ k[:, shared].T / float(np.sqrt(head_dim)), -np.inf)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        out[:, head] = weights / weights.sum(axis=-1, keepdims=True) @ v[:, shared]
    return out
