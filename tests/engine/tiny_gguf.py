"""A made-up GGUF file, a few hundred kilobytes small."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

HIDDEN, HEADS, KV_HEADS, HEAD_DIM, MLP, LAYERS = 64, 4, 2, 16, 96, 2
TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def byte_tokens() -> list[str]:
    """GPT-2's printable stand-ins for the 256 bytes."""
    from tokenizers.pre_tokenizers import ByteLevel

    return sorted(ByteLevel.alphabet())


def stand_ins(text: str) -> str:
    """The stand-ins for the bytes of a text."""
    from tokenizers.pre_tokenizers import ByteLevel

    return ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(text)[0][0]


def interleave(rows: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp's order, written down element by element: row 2j of a head is its row j, row 2j + 1 its row j + d/2."""
    out = np.empty_like(rows)
    d = rows.shape[0] // heads
    for head in range(heads):
        for j in range(d // 2):
            out[head * d + 2 * j] = rows[head * d + j]
            out[head * d + 2 * j + 1] = rows[head * d + j + d // 2]
    return out


def make_gguf(
    path: Path,
    *,
    architecture: str = "llama",
    tied: bool = True,
    leave_out: str = "",
    pre: str = "smollm",
    bytes_left_out: str = "",
    unmerged: tuple[str, ...] = (),
    bos: int | None = 1,
    add_bos: bool | None = None,
    rope_factors: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """A tiny llama model with every kind of tensor that SmolLM2's file has.

    Args:
        path: the file to write.
        architecture: what it says it is.
        tied: whether the output matrix is the embedding.
        leave_out: a tensor that it lacks.
        pre: the name of its pre-tokenizer.
        bytes_left_out: stand-ins of bytes that its vocabulary lacks.
        unmerged: tokens of its vocabulary to which no merges lead.
        bos: id of the token that begins a text, or None for a file that names none.
        add_bos: what it says about putting that there, or None for nothing.
        rope_factors: of the rotary pairs, or None for a file without.

    Returns:
        The weights under Hugging Face's names.
    """
    rng = np.random.default_rng(7)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(LAYERS)
    writer.add_context_length(128)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(MLP)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(50000.0)
    tokens = [*TOKENS, *(t for t in byte_tokens() if t not in bytes_left_out), "he", "ll", *unmerged]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([3] * len(TOKENS) + [1] * (len(tokens) - len(TOKENS)))
    writer.add_token_merges(["h e", "l l"])
    if bos is not None:
        writer.add_bos_token_id(bos)
    if add_bos is not None:
        writer.add_add_bos_token(add_bos)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template("{{ messages }}")
    weights = {}

    def add(name: str, target: str, shape: tuple[int, ...], kind=gguf.GGMLQuantizationType.F32, heads: int = 0) -> None:
        values = rng.standard_normal(shape).astype(np.float32)
        interleaved = heads and architecture == "llama"
        data = gguf.quants.quantize(interleave(values, heads) if interleaved else values, kind)
        values = gguf.quants.dequantize(gguf.quants.quantize(values, kind), kind)  # each row is quantized on its own
        weights[target] = values
        if name != leave_out:
            writer.add_tensor(name, data, raw_dtype=kind)

    q8, q4, f16 = (gguf.GGMLQuantizationType[k] for k in ("Q8_0", "Q4_1", "F16"))
    add("token_embd.weight", "model.embed_tokens.weight", (len(tokens), HIDDEN), q8)
    add("output_norm.weight", "model.norm.weight", (HIDDEN,))
    if not tied:
        add("output.weight", "lm_head.weight", (len(tokens), HIDDEN))
    for i in range(LAYERS):
        a, b = f"blk.{i}.", f"model.layers.{i}."
        add(a + "attn_norm.weight", b + "input_layernorm.weight", (HIDDEN,))
        add(a + "attn_q.weight", b + "self_attn.q_proj.weight", (HEADS * HEAD_DIM, HIDDEN), q4, HEADS)
        add(a + "attn_k.weight", b + "self_attn.k_proj.weight", (KV_HEADS * HEAD_DIM, HIDDEN), heads=KV_HEADS)
        add(a + "attn_v.weight", b + "self_attn.v_proj.weight", (KV_HEADS * HEAD_DIM, HIDDEN), q4)
        add(a + "attn_output.weight", b + "self_attn.o_proj.weight", (HIDDEN, HEADS * HEAD_DIM), f16)
        if architecture == "qwen3":
            add(a + "attn_q_norm.weight", b + "self_attn.q_norm.weight", (HEAD_DIM,))
            add(a + "attn_k_norm.weight", b + "self_attn.k_norm.weight", (HEAD_DIM,))
        add(a + "ffn_norm.weight", b + "post_attention_layernorm.weight", (HIDDEN,))
        add(a + "ffn_gate.weight", b + "mlp.gate_proj.weight", (MLP, HIDDEN), q8)
        add(a + "ffn_up.weight", b + "mlp.up_proj.weight", (MLP, HIDDEN))
        add(a + "ffn_down.weight", b + "mlp.down_proj.weight", (HIDDEN, MLP))
    if rope_factors is not None:
        writer.add_tensor("rope_freqs.weight", rope_factors.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return weights
