"""A GGUF file of the llama architecture as a Hugging Face folder: weights, configuration and tokenizer."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gguf
import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

# llama.cpp's names, and Hugging Face's.
_TENSORS = {
    r"token_embd\.weight": "model.embed_tokens.weight",
    r"output_norm\.weight": "model.norm.weight",
    r"output\.weight": "lm_head.weight",
    r"blk\.(\d+)\.attn_norm\.weight": r"model.layers.\1.input_layernorm.weight",
    r"blk\.(\d+)\.attn_q\.weight": r"model.layers.\1.self_attn.q_proj.weight",
    r"blk\.(\d+)\.attn_k\.weight": r"model.layers.\1.self_attn.k_proj.weight",
    r"blk\.(\d+)\.attn_v\.weight": r"model.layers.\1.self_attn.v_proj.weight",
    r"blk\.(\d+)\.attn_q_norm\.weight": r"model.layers.\1.self_attn.q_norm.weight",
    r"blk\.(\d+)\.attn_k_norm\.weight": r"model.layers.\1.self_attn.k_norm.weight",
    r"blk\.(\d+)\.attn_output\.weight": r"model.layers.\1.self_attn.o_proj.weight",
    r"blk\.(\d+)\.ffn_norm\.weight": r"model.layers.\1.post_attention_layernorm.weight",
    r"blk\.(\d+)\.ffn_gate\.weight": r"model.layers.\1.mlp.gate_proj.weight",
    r"blk\.(\d+)\.ffn_up\.weight": r"model.layers.\1.mlp.up_proj.weight",
    r"blk\.(\d+)\.ffn_down\.weight": r"model.layers.\1.mlp.down_proj.weight",
}
ARCHITECTURES = {"llama": "LlamaForCausalLM", "qwen3": "Qwen3ForCausalLM"}  # llama.cpp's name, and Hugging Face's
_LLAMA3_CONTEXT = 8192
_LLAMA3_SCALING: dict[str, Any] = {
    "rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": _LLAMA3_CONTEXT,
}  # fmt: skip
_CONTROL, _USER_DEFINED = 3, 4  # token types that stand for themselves (llama.cpp, llama_token_type)


class GGUFError(ValueError):
    """The file is not a GGUF file that can be converted; the message names it and what was expected."""


class GGUFModel:
    """An opened GGUF file.

    Raises:
        GGUFError: not a GGUF file, truncated, of another architecture, or without a field that is needed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._reader = gguf.GGUFReader(path)
        except FileNotFoundError as error:
            raise GGUFError(f"{path}: no such file") from error
        except (ValueError, IndexError, OverflowError, OSError) as error:
            raise GGUFError(f"{path}: not a complete GGUF file ({error})") from error
        self.architecture: str = self.field("general.architecture")
        if self.architecture not in ARCHITECTURES:
            known = " or ".join(map(repr, ARCHITECTURES))
            raise GGUFError(f"{path}: general.architecture is {self.architecture!r}: expected {known}")
        self.layers = int(self._own("block_count"))
        self.heads = int(self._own("attention.head_count"))
        self.kv_heads = int(self._own("attention.head_count_kv", self.heads))
        self.hidden = int(self._own("embedding_length"))
        self.head_dim = int(self._own("attention.key_length", self.hidden // self.heads))
        self._tensors = {t.name: t for t in self._reader.tensors}
        self._check_tensors()

    def field(self, name: str, default: Any = None) -> Any:
        """A metadata value.

        Raises:
            GGUFError: it is not there and there is no default.
        """
        found = self._reader.get_field(name)
        if found is not None:
            return found.contents()
        if default is None:
            raise GGUFError(f"{self.path}: metadata field {name!r} is missing")
        return default

    def _own(self, name: str, default: Any = None) -> Any:
        """A metadata value of the architecture, such as `llama.block_count` for `block_count`."""
        return self.field(f"{self.architecture}.{name}", default)

    def _special(self, role: str, tokens: list[str]) -> str | None:
        """The token of a role, or None where the file names none.

        Raises:
            GGUFError: it is not among the tokens.
        """
        name = f"tokenizer.ggml.{role}_token_id"
        found = self._reader.get_field(name)
        if found is None:
            return None
        number = int(found.contents())
        if not 0 <= number < len(tokens):
            raise GGUFError(f"{self.path}: {name} is {number}: expected one of the {len(tokens):,} tokens, from 0 on")
        return tokens[number]

    def _check_tensors(self) -> None:
        unknown = [n for n in self._tensors if hugging_face_name(n) is None and not n.startswith("rope_freqs")]
        if unknown:
            raise GGUFError(f"{self.path}: tensor {unknown[0]!r} is not one of a {self.architecture} model")
        wanted = {"token_embd.weight", "output_norm.weight"}
        suffixes = [p[len(r"blk\.(\d+)\.") :].replace("\\", "") for p in _TENSORS if p.startswith("blk")]
        if self.architecture != "qwen3":
            suffixes = [s for s in suffixes if s not in ("attn_q_norm.weight", "attn_k_norm.weight")]
        wanted |= {f"blk.{layer}.{suffix}" for layer in range(self.layers) for suffix in suffixes}
        missing = sorted(wanted - set(self._tensors))
        if missing:
            raise GGUFError(f"{self.path}: {len(missing)} tensors are missing, the first is {missing[0]!r}")

    @property
    def tied(self) -> bool:
        """Whether the output matrix is the embedding."""
        return "output.weight" not in self._tensors

    def tensors(self) -> Iterator[tuple[str, np.ndarray]]:
        """Hugging Face name and values of each tensor, dequantized to float32.

        Yields:
            Arrays as Hugging Face has them: [out, in] for matrices, Q and K rows half-split again.
        """
        for name, tensor in self._tensors.items():
            target = hugging_face_name(name)
            if target is None:
                continue
            values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32, copy=False)
            values = values.reshape([int(n) for n in reversed(tensor.shape)])
            if self.architecture == "llama":  # llama.cpp rotates half-split pairs in the others
                if name.endswith("attn_q.weight"):
                    values = half_split(values, self.heads)
                elif name.endswith("attn_k.weight"):
                    values = half_split(values, self.kv_heads)
            yield target, values

    def tensor_count(self) -> int:
        """How many `tensors` gives."""
        return sum(hugging_face_name(n) is not None for n in self._tensors)

    def config(self) -> dict[str, Any]:
        """`config.json` for Transformers."""
        vocabulary = len(self.field("tokenizer.ggml.tokens"))
        return {
            "architectures": [ARCHITECTURES[self.architecture]],
            "model_type": self.architecture,
            "attention_bias": False,
            "attention_dropout": 0.0,
            "bos_token_id": self.field("tokenizer.ggml.bos_token_id", 1),
            "eos_token_id": self.field("tokenizer.ggml.eos_token_id", 2),
            "pad_token_id": self.field("tokenizer.ggml.padding_token_id", 2),
            "head_dim": self.head_dim,
            "hidden_act": "silu",
            "hidden_size": self.hidden,
            "intermediate_size": int(self._own("feed_forward_length")),
            "max_position_embeddings": int(self._own("context_length")),
            "mlp_bias": False,
            "num_attention_heads": self.heads,
            "num_hidden_layers": self.layers,
            "num_key_value_heads": self.kv_heads,
            # Written with seven digits in GGUF's float32: 9.999999747378752e-06 is 1e-05.
            "rms_norm_eps": float(f"{self._own('attention.layer_norm_rms_epsilon'):.6g}"),
            "rope_scaling": self._rope_scaling(),
            "rope_theta": float(self._own("rope.freq_base", 10000.0)),
            "tie_word_embeddings": self.tied,
            "torch_dtype": "bfloat16",
            "vocab_size": vocabulary,
        }

    def _rope_scaling(self) -> dict[str, Any] | None:
        """Hugging Face's `rope_scaling`, from the factors that llama.cpp's converter computed of it.

        The file has only the result, a factor for each rotary pair (`rope_freqs.weight`). Llama 3.1, 3.2 and 3.3 differ in one
        number, the largest factor; the three others are the same in all of them. That they give these factors is checked.

        Raises:
            GGUFError: the factors are of another kind.
        """
        found = self._tensors.get("rope_freqs.weight")
        if found is None:
            return None
        factors = np.asarray(found.data, np.float64).ravel()
        scaling = {**_LLAMA3_SCALING, "factor": float(f"{factors.max():.6g}")}
        theta = float(self._own("rope.freq_base", 10000.0))
        plain = theta ** (-np.arange(0, self.head_dim, 2) / self.head_dim)
        turns = _LLAMA3_CONTEXT * plain / (2 * np.pi)
        blend = np.clip((turns - 1) / (4 - 1), 0, 1)
        expected = 1 / (blend + (1 - blend) / float(factors.max()))
        if factors.shape != expected.shape or not np.allclose(factors, expected, rtol=1e-3):
            raise GGUFError(f"{self.path}: rope_freqs.weight: expected the factors of Llama 3's rotary scaling")
        return scaling

    def tokenizer(self) -> tuple[str, dict[str, Any]]:
        """`tokenizer.json` and `tokenizer_config.json`: the byte-level BPE tokenizer inside the file.

        Encoding drops a byte that has no token, as Hugging Face's own file for SmolLM2 does (huggingface/smollm, issue 81):
        a text cannot be had back whole where it has U+0004, 06, 13, 14, 16 or 1D, or one of U+40000 to U+BFFFF.

        Llama 3 takes a word that is a token as it is, without merging, and starts each text with `<|begin_of_text|>`
        (llama.cpp, llama-vocab.cpp; `ignore_merges` and `post_processor` in Meta's tokenizer.json), also where the
        file has no `add_bos_token`.

        Raises:
            GGUFError: the tokenizer is of another kind, or names a token that it lacks.
        """
        from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

        kind, split = self.field("tokenizer.ggml.model"), self.field("tokenizer.ggml.pre", "gpt-2")
        if kind != "gpt2":
            raise GGUFError(f"{self.path}: tokenizer.ggml.model is {kind!r}: expected 'gpt2' (byte-level BPE)")
        llama3 = split == "llama-bpe"
        byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split not in ("llama-bpe", "qwen2"))
        splits: dict[str, list[Any]] = {
            "gpt-2": [],
            "smollm": [pre_tokenizers.Digits(individual_digits=True)],
            "llama-bpe": [pre_tokenizers.Split(Regex(_LLAMA3_WORDS), "isolated", invert=False)],
            "qwen2": [pre_tokenizers.Split(Regex(_QWEN2_WORDS), "isolated", invert=False)],
        }
        if split not in splits:
            raise GGUFError(f"{self.path}: tokenizer.ggml.pre is {split!r}: expected one of {', '.join(splits)}")
        tokens: list[str] = self.field("tokenizer.ggml.tokens")
        types: list[int] = self.field("tokenizer.ggml.token_type")
        merges = [tuple(merge.split(" ")) for merge in self.field("tokenizer.ggml.merges")]
        tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges, ignore_merges=llama3))
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*splits[split], byte_level])
        if split == "qwen2":
            tokenizer.normalizer = normalizers.NFC()
        tokenizer.decoder = decoders.ByteLevel()
        special = [t for t, kind in zip(tokens, types, strict=True) if kind == _CONTROL]
        tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
        own = [t for t, kind in zip(tokens, types, strict=True) if kind == _USER_DEFINED]
        tokenizer.add_tokens([AddedToken(t, normalized=False) for t in own])
        add_bos = bool(self.field("tokenizer.ggml.add_bos_token", llama3))
        if add_bos:
            number, bos = int(self.field("tokenizer.ggml.bos_token_id")), self._special("bos", tokens)
            alone = [f"{bos}:0", "$A:0"]
            start = processors.TemplateProcessing(alone, [*alone, f"{bos}:1", "$B:1"], [(bos, number)])
            tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), start])
        config: dict[str, Any] = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "add_bos_token": add_bos,
            "add_prefix_space": False,
            "clean_up_tokenization_spaces": False,
            "model_max_length": int(self._own("context_length")),
        }
        for role, short in (("bos", "bos"), ("eos", "eos"), ("unknown", "unk"), ("padding", "pad")):
            named = self._special(role, tokens)
            if named is not None:
                config[f"{short}_token"] = named
        template = self._reader.get_field("tokenizer.chat_template")
        if template is not None:
            config["chat_template"] = template.contents()
        return tokenizer.to_str(pretty=False), config


# Meta's reference tokenizer for Llama 3 (llama-models, tokenizer.py): how text is cut before the merges.
_LLAMA3_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

_QWEN2_WORDS = _LLAMA3_WORDS.replace(r"\p{N}{1,3}", r"\p{N}")  # Qwen2's tokenizer.json: digits one by one


def hugging_face_name(name: str) -> str | None:
    """Hugging Face's name for a llama.cpp tensor, or None for one that has none."""
    for pattern, target in _TENSORS.items():
        match = re.fullmatch(pattern, name)
        if match:
            return match.expand(target)
    return None


def half_split(rows: np.ndarray, heads: int) -> np.ndarray:
    """Rows of Q or K in Hugging Face's order.

    llama.cpp rotates neighbouring pairs (0, 1), (2, 3), … where Hugging Face rotates (0, d/2), (1, d/2 + 1), …; its
    converter stores the rows of each head interleaved to match. This undoes it.

    Args:
        rows: [heads · head_dim, in], interleaved.
        heads: number of heads in it.
    """
    head_dim = rows.shape[0] // heads
    pairs = rows.reshape(heads, head_dim // 2, 2, *rows.shape[1:])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(rows.shape)


def convert(path: Path, folder: Path, on_tensor: Callable[[int, int], None] | None = None) -> None:
    """Write a Hugging Face folder: bfloat16 safetensors, config.json, generation_config.json and the tokenizer.

    Args:
        path: the GGUF file.
        folder: an existing, empty folder.
        on_tensor: told how many tensors are done, of how many.

    Raises:
        GGUFError: the file cannot be converted.
        OSError, safetensors.SafetensorError: the folder cannot be written, or the disk is full.
    """
    model = GGUFModel(path)
    weights: dict[str, np.ndarray] = {}
    for name, values in model.tensors():
        weights[name] = values.astype(ml_dtypes.bfloat16)
        if on_tensor is not None:
            on_tensor(len(weights), model.tensor_count())
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = model.config()
    write_tokenizer(model, folder)
    _write_json(
        folder / "generation_config.json", {k: config[k] for k in ("bos_token_id", "eos_token_id", "pad_token_id")}
    )
    _write_json(folder / "config.json", config)


def write_tokenizer(model: GGUFModel, folder: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json into a folder.

    Raises:
        GGUFError: see `GGUFModel.tokenizer`.
    """
    tokenizer, config = model.tokenizer()
    (folder / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
    _write_json(folder / "tokenizer_config.json", config)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
