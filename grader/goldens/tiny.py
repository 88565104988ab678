"""Tiny models with random weights, the same on every machine: NumPy makes them from a seed.

They have what makes real models awkward: shared key and value heads, `llama3` frequency scaling, an output matrix of its own,
sizes that are no powers of two, normalised queries and keys.
"""

from __future__ import annotations

import json
from typing import Any

import ml_dtypes
import numpy as np

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 96,
    "intermediate_size": 200,
    "num_hidden_layers": 3,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 259,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "rope_scaling": {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    },
    "tie_word_embeddings": False,
    "attention_bias": False,
    "mlp_bias": False,
    "hidden_act": "silu",
    "bos_token_id": 1,
    "eos_token_id": 2,
    "torch_dtype": "bfloat16",
}  # fmt: skip
QWEN3: dict[str, Any] = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "hidden_size": 72,
    "intermediate_size": 136,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 32,  # not hidden_size / heads
    "vocab_size": 131,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000.0,
    "rope_scaling": None,
    "tie_word_embeddings": True,
    "attention_bias": False,
    "hidden_act": "silu",
    "bos_token_id": 1,
    "eos_token_id": 2,
    "torch_dtype": "bfloat16",
}
MODELS = {"tiny-llama": LLAMA, "tiny-qwen3": QWEN3}


def shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Every tensor of such a model."""
    hidden, inner, head_dim = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    q, kv = config["num_attention_heads"] * head_dim, config["num_key_value_heads"] * head_dim
    out: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config["vocab_size"], hidden)}
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        out |= {
            f"{prefix}input_layernorm.weight": (hidden,),
            f"{prefix}self_attn.q_proj.weight": (q, hidden),
            f"{prefix}self_attn.k_proj.weight": (kv, hidden),
            f"{prefix}self_attn.v_proj.weight": (kv, hidden),
            f"{prefix}self_attn.o_proj.weight": (hidden, q),
            f"{prefix}post_attention_layernorm.weight": (hidden,),
            f"{prefix}mlp.gate_proj.weight": (inner, hidden),
            f"{prefix}mlp.up_proj.weight": (inner, hidden),
            f"{prefix}mlp.down_proj.weight": (hidden, inner),
        }
        if config["model_type"] == "qwen3":
            out |= {f"{prefix}self_attn.{which}_norm.weight": (head_dim,) for which in "qk"}
    out["model.norm.weight"] = (hidden,)
    if not config["tie_word_embeddings"]:
        out["lm_head.weight"] = (config["vocab_size"], hidden)
    return out


def weights(name: str, seed: int = 0, **changed: Any) -> dict[str, np.ndarray]:
    """Random bfloat16 weights of `tiny-llama` or `tiny-qwen3`: norms around 1, matrices that keep activations' size.

    Args:
        changed: fields of the configuration that are not the model's own.
    """
    rng = np.random.default_rng([seed, *name.encode()])
    out = {}
    for tensor, shape in shapes({**MODELS[name], **changed}).items():
        if len(shape) == 1:
            values = 1.0 + 0.3 * rng.standard_normal(shape)
        else:
            values = rng.standard_normal(shape) * (1.0 if "embed" in tensor else 1.5 / np.sqrt(shape[1]))
        out[tensor] = values.astype(ml_dtypes.bfloat16)
    return out


def files(name: str, seed: int = 0) -> dict[str, bytes]:
    """The model's folder: config.json and model.safetensors."""
    from safetensors.numpy import save

    return {
        "config.json": json.dumps(MODELS[name], indent=1).encode(),
        "model.safetensors": save(weights(name, seed), metadata={"format": "pt"}),
    }
