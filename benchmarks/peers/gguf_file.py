"""A model as a GGUF file that llama.cpp loads: its weights, and a vocabulary of as many made-up tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from engine import device
from engine.model import Model

TYPES = {"bf16": gguf.GGMLQuantizationType.BF16, "q8_0": gguf.GGMLQuantizationType.Q8_0}
_NAMES = {  # Hugging Face's names, and llama.cpp's
    "input_layernorm.weight": "attn_norm.weight", "self_attn.q_proj.weight": "attn_q.weight",
    "self_attn.k_proj.weight": "attn_k.weight", "self_attn.v_proj.weight": "attn_v.weight",
    "self_attn.o_proj.weight": "attn_output.weight", "post_attention_layernorm.weight": "ffn_norm.weight",
    "mlp.gate_proj.weight": "ffn_gate.weight", "mlp.up_proj.weight": "ffn_up.weight", "mlp.down_proj.weight": "ffn_down.weight",
}  # fmt: skip
_NORMAL, _UNKNOWN, _CONTROL, _BYTE = 1, 2, 3, 6  # llama.cpp, llama_token_type


def write(path: Path, model: Model, weights: str) -> None:
    """Write it.

    Args:
        weights: of matrices, `bf16` or `q8_0`.
    """
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    _add_vocabulary(writer, config.vocab_size)
    for name, values in _tensors(model):
        if values.ndim == 1:
            writer.add_tensor(name, values)
        else:
            writer.add_tensor(name, gguf.quants.quantize(values, TYPES[weights]), raw_dtype=TYPES[weights])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_vocabulary(writer: Any, size: int) -> None:
    """What llama.cpp asks of a vocabulary: some special tokens, and one for each byte."""
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    kinds = [_UNKNOWN, _CONTROL, _CONTROL, *([_BYTE] * 256)]
    tokens += [f"token{number}" for number in range(len(tokens), size)]
    kinds += [_NORMAL] * (size - len(kinds))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens[:size])
    writer.add_token_scores([-1000.0] * size)
    writer.add_token_types(kinds[:size])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)


def _tensors(model: Model) -> Iterator[tuple[str, np.ndarray]]:
    """llama.cpp's name of each tensor, and float32 values."""
    config = model.config

    def host(array: Any) -> np.ndarray:
        return np.asarray(device.to_host(array)).astype(np.float32)

    yield "token_embd.weight", host(model.embedding)
    yield "output_norm.weight", host(model.norm)
    if not config.tie_word_embeddings:
        yield "output.weight", host(model.head)
    if config.rope_scaling is not None:  # a factor for each rotary pair, of its wavelength
        plain = config.rope_theta ** (-np.arange(0, config.head_dim, 2) / config.head_dim)
        yield "rope_freqs.weight", (plain / host(model.frequencies)).astype(np.float32)
    heads = {"q": config.num_attention_heads, "k": config.num_key_value_heads}
    for number, layer in enumerate(model.layers):
        for name, target in _NAMES.items():
            values = host(layer[name])
            if found := re.match(r"self_attn\.([qk])_proj", name):
                values = side_by_side(values, heads[found[1]])
            yield f"blk.{number}.{target}", values


def side_by_side(matrix: np.ndarray, heads: int) -> np.ndarray:
    """Rows of Q or K with the two numbers of a rotary pair next to each other, as llama.cpp has them for Llama."""
    rows, columns = matrix.shape
    return matrix.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)
