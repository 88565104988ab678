"""The right answers about files of weights, from the safetensors library."""

from __future__ import annotations

import contextlib
import json
import math
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import safetensors

from grader.channel import dtype_named
from grader.models import folder
from grader.spec import File, Folder, LlamaConfig, Model

TYPES = {
    "BOOL": "bool", "F4": "", "F6_E2M3": "", "F6_E3M2": "", "U8": "uint8", "I8": "int8", "F8_E5M2": "float8_e5m2",
    "F8_E4M3": "float8_e4m3fn", "F8_E8M0": "float8_e8m0fnu", "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz", "I16": "int16", "U16": "uint16", "F16": "float16", "BF16": "bfloat16",
    "I32": "int32", "U32": "uint32", "F32": "float32", "C64": "complex64", "F64": "float64", "I64": "int64", "U64": "uint64",
}  # fmt: skip
BITS = {n: 8 * dtype_named(t).itemsize if t else int(n[1]) for n, t in TYPES.items()}


@contextlib.contextmanager
def _path(file: File | Model) -> Iterator[Path]:
    """The file on the disk."""
    if isinstance(file, Model):
        yield folder(file.name) / file.file
        return
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / file.name
        path.write_bytes(file.content)
        yield path


def header_bytes(file: File) -> bytes:
    """The header, as long as the first 8 bytes say."""
    return file.content[8 : 8 + struct.unpack("<Q", file.content[:8])[0]]


def header(file: File | Model) -> dict[str, Any]:
    """Metadata and tensors."""
    with _path(file) as path:
        return header_of(path)


def header_of(path: Path) -> dict[str, Any]:
    """Metadata and tensors; where they lie follows from their order in the file, which has no holes."""
    with safetensors.safe_open(path, framework="numpy") as opened, path.open("rb") as raw:
        place = 8 + struct.unpack("<Q", raw.read(8))[0]
        found = {}
        for name in opened.offset_keys():
            view = opened.get_slice(name)
            dtype, shape = view.get_dtype(), tuple(view.get_shape())
            size = math.prod(shape) * BITS[dtype] // 8
            found[name] = {"dtype": dtype, "shape": shape, "start": place, "end": place + size}
            place += size
        return {"metadata": opened.metadata() or {}, "tensors": found}


def tensors(file: File) -> dict[str, np.ndarray]:
    """The tensors' bytes from the library, as arrays: of the types that NumPy lacks it makes none itself."""
    return {
        name: np.frombuffer(found["data"], dtype_named(TYPES[found["dtype"]])).reshape(found["shape"])
        for name, found in safetensors.deserialize(file.content)
    }


# ---- whole models ----------------------------------------------------------------------------------------------------------

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


def shapes(config: LlamaConfig) -> dict[str, tuple[int, ...]]:
    """The tensors of Hugging Face's LlamaForCausalLM and Qwen3ForCausalLM (models/*/modeling_*.py), [out, in]."""
    f = config.fields
    hidden, heads = f["hidden_size"], f["num_attention_heads"]
    width = f.get("head_dim") or hidden // heads
    out = {EMBEDDING: (f["vocab_size"], hidden), "model.norm.weight": (hidden,)}
    if not f.get("tie_word_embeddings", False):
        out[HEAD] = out[EMBEDDING]
    for layer in (f"model.layers.{i}." for i in range(f["num_hidden_layers"])):
        for norm in ("input_layernorm", "post_attention_layernorm"):
            out[f"{layer}{norm}.weight"] = (hidden,)
        for matrix, count in (("q", heads), ("k", f["num_key_value_heads"]), ("v", f["num_key_value_heads"])):
            out[f"{layer}self_attn.{matrix}_proj.weight"] = (count * width, hidden)
        out[f"{layer}self_attn.o_proj.weight"] = (hidden, heads * width)
        for matrix in ("gate", "up"):
            out[f"{layer}mlp.{matrix}_proj.weight"] = (f["intermediate_size"], hidden)
        out[f"{layer}mlp.down_proj.weight"] = (hidden, f["intermediate_size"])
        if f["architectures"] == ["Qwen3ForCausalLM"]:
            out |= {f"{layer}self_attn.{matrix}_norm.weight": (width,) for matrix in "qk"}
    return out


def bytes_per_token(config: LlamaConfig) -> int:
    """Layers, last norm and output matrix, whatever it is called; and one row of an embedding that is not that matrix."""
    sizes = {name: math.prod(shape) for name, shape in shapes(config).items()}
    row = 0 if config.fields.get("tie_word_embeddings", False) else config.fields["hidden_size"]
    matrix = sizes.pop(EMBEDDING)
    return 2 * (sum(sizes.values()) + (row or matrix))


@contextlib.contextmanager
def _folder(model: Folder | Model) -> Iterator[Path]:
    """The folder on the disk."""
    if isinstance(model, Model):
        yield folder(model.name)
        return
    with tempfile.TemporaryDirectory() as scratch:
        for name, content in model.files.items():
            (Path(scratch) / name).write_bytes(content)
        yield Path(scratch)


def files(model: Folder | Model) -> list[str]:
    """The one file, or those of the index."""
    with _folder(model) as path:
        if (path / "model.safetensors").exists():
            return ["model.safetensors"]
        return sorted(set(json.loads((path / "model.safetensors.index.json").read_bytes())["weight_map"].values()))


def stored(model: Folder | Model) -> dict[str, Any]:
    """File, dtype and shape of each tensor, from the files' headers."""
    with _folder(model) as path:
        return {
            name: {"file": file, "dtype": found["dtype"], "shape": found["shape"]}
            for file in files(model)
            for name, found in header_of(path / file)["tensors"].items()
        }


def weights(model: Folder | Model) -> dict[str, np.ndarray]:
    """Every tensor's bytes, where the library says they are; the output matrix is the embedding where they are tied."""
    out = {}
    with _folder(model) as path:
        tied = json.loads((path / "config.json").read_bytes()).get("tie_word_embeddings", False)
        for file in files(model):
            mapped = np.memmap(path / file, np.uint8, "r")
            for name, found in header_of(path / file)["tensors"].items():
                out[name] = (
                    mapped[found["start"] : found["end"]]
                    .view(dtype_named(TYPES[found["dtype"]]))
                    .reshape(found["shape"])
                )
    if tied:
        out[HEAD] = out[EMBEDDING]
    return out
