"""Day 3, loading weights: what a model must have, what its files hold, every tensor bit for bit, the bytes of a token."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np
from safetensors.numpy import save

from grader import file_oracles, models
from grader.goldens import tiny
from grader.spec import BadInput, Case, DayChecks, Folder, LlamaConfig, Model, Task

MODEL = "smollm2-135m"
SINGLE, INDEX, CONFIG = "model.safetensors", "model.safetensors.index.json", "config.json"
EMBEDDING, HEAD, NORM = file_oracles.EMBEDDING, file_oracles.HEAD, "model.norm.weight"
Q, K = "model.layers.1.self_attn.q_proj.weight", "model.layers.2.self_attn.k_proj.weight"
Make = Callable[[np.random.Generator], Sequence[Any]]
Fields = Mapping[str, Any]

# Every size another, so that no two shapes can be taken for each other.
LLAMA = tiny.LLAMA | {
    "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 12, "vocab_size": 97, "tie_word_embeddings": True,
}  # fmt: skip
UNTIED = LLAMA | {"tie_word_embeddings": False}
QWEN3 = tiny.QWEN3 | {
    "hidden_size": 40, "intermediate_size": 72, "num_hidden_layers": 2, "num_attention_heads": 6, "num_key_value_heads": 2,
    "head_dim": 16, "vocab_size": 89,
}  # fmt: skip
SILENT = {key: value for key, value in UNTIED.items() if key != "head_dim"}
# The embedding is two fifths of it: a second copy shows, and one tensor too many for a moment does not.
BULKY = LLAMA | {
    "hidden_size": 128, "intermediate_size": 320, "num_hidden_layers": 3, "num_key_value_heads": 4, "head_dim": 32,
    "vocab_size": 3000,
}  # fmt: skip
LLAMA_3_2_1B = tiny.LLAMA | {
    "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32, "head_dim": 64,
    "num_key_value_heads": 8, "vocab_size": 128256, "tie_word_embeddings": True,
}  # fmt: skip
LLAMA_3_1_8B = LLAMA_3_2_1B | {
    "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "head_dim": 128, "tie_word_embeddings": False,
}  # fmt: skip
QWEN3_0_6B = tiny.QWEN3 | {
    "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 16, "head_dim": 128,
    "num_key_value_heads": 8, "vocab_size": 151936, "tie_word_embeddings": True,
}  # fmt: skip


def config(fields: Fields) -> Make:
    """A configuration."""
    return lambda rng: [LlamaConfig(fields)]


def real_config(rng: np.random.Generator) -> Sequence[Any]:
    """The configuration of a real model."""
    return [LlamaConfig(models.config(MODEL))]


def real(rng: np.random.Generator) -> Sequence[Any]:
    """A real model's folder."""
    return [Model(MODEL)]


def random_weights(fields: Fields, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Every tensor of a model, bits at random: NaNs among them, which must stay the NaNs that they are."""
    shapes = file_oracles.shapes(LlamaConfig(fields))
    return {n: rng.integers(0, 1 << 16, s, np.uint16).view(ml_dtypes.bfloat16) for n, s in shapes.items()}


Change = Callable[[dict[str, np.ndarray]], None]  # of the weights, before they are written


def single(fields: Fields, change: Change = lambda weights: None, **files: bytes) -> Make:
    """A model in one file.

    Args:
        change: what is done to its weights before.
        files: others in its folder, by name with __ for a point.
    """

    def make(rng: np.random.Generator) -> Sequence[Any]:
        weights = random_weights(fields, rng)
        change(weights)
        content = {CONFIG: json.dumps(fields).encode(), SINGLE: save(weights, {"format": "pt"})}
        return [Folder("model", content | {name.replace("__", "."): file for name, file in files.items()})]

    return make


def sharded(
    fields: Fields,
    change: Change = lambda weights: None,
    *,
    files: Callable[[dict[str, bytes]], None] = lambda files: None,
    twice: str = "",
    count: int = 3,
) -> Make:
    """A model in several files and an index.

    Args:
        change: what is done to its weights before.
        files: what is done to the files after.
        twice: a tensor that the last file has as well as its own.
    """

    def make(rng: np.random.Generator) -> Sequence[Any]:
        weights = random_weights(fields, rng)
        change(weights)
        names = sorted(weights)
        parts = {f"model-{i + 1:05}-of-{count:05}.safetensors": names[i::count] for i in range(count)}
        index = {"metadata": {}, "weight_map": {name: file for file, inside in parts.items() for name in inside}}
        if twice:
            parts[max(parts)].append(twice)
        content = {file: save({name: weights[name] for name in inside}) for file, inside in parts.items()}
        content |= {CONFIG: json.dumps(fields).encode(), INDEX: json.dumps(index).encode()}
        files(content)
        return [Folder("model", content)]

    return make


def indexed(index: Any) -> Make:
    """A sharded model with this index."""
    text = index if isinstance(index, bytes) else json.dumps(index).encode()
    return sharded(LLAMA, files=lambda files: files.update({INDEX: text}))


def without(*names: str) -> Change:
    """Tensors taken away."""

    def change(weights: dict[str, np.ndarray]) -> None:
        for name in names:
            del weights[name]

    return change


def added(**shapes: Iterable[int]) -> Change:
    """Tensors put in, by name with __ for a point."""

    def change(weights: dict[str, np.ndarray]) -> None:
        for name, shape in shapes.items():
            weights[name.replace("__", ".")] = np.zeros(tuple(shape), ml_dtypes.bfloat16)

    return change


def replaced(name: str, new: Callable[[np.ndarray], np.ndarray]) -> Change:
    """A tensor made from itself."""

    def change(weights: dict[str, np.ndarray]) -> None:
        weights[name] = np.ascontiguousarray(new(weights[name]))

    return change


def second_head(weights: dict[str, np.ndarray]) -> None:
    """The embedding once more, under the name of the output matrix."""
    weights[HEAD] = weights[EMBEDDING]


def other_head(weights: dict[str, np.ndarray]) -> None:
    """An output matrix that differs from the embedding in its very last bit."""
    weights[HEAD] = weights[EMBEDDING].copy()
    weights[HEAD].view(np.uint16)[-1, -1] ^= 1


def cut(files: dict[str, bytes]) -> None:
    """The second file ends early."""
    files["model-00002-of-00003.safetensors"] = files["model-00002-of-00003.safetensors"][:-100]


def pointer(files: dict[str, bytes]) -> None:
    """What git leaves where large files were not fetched."""
    files["model-00003-of-00003.safetensors"] = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


def lost(files: dict[str, bytes]) -> None:
    """The first file is not there."""
    del files["model-00001-of-00003.safetensors"]


def stray(files: dict[str, bytes]) -> None:
    """A file beside the model that the index does not list."""
    files["consolidated.safetensors"] = save({"output.weight": np.zeros(4, np.float32)})


def bare(**files: bytes) -> Make:
    """A folder with these files only, by name with __ for a point."""
    return lambda rng: [Folder("model", {name.replace("__", "."): content for name, content in files.items()})]


FIELDS = json.dumps(LLAMA).encode()
BIASED = LLAMA | {"attention_bias": True}

TENSORS = Task(
    function="expected_tensors",
    oracle=file_oracles.shapes,
    cases=[
        Case("tensors, tied", config(LLAMA)),
        Case("tensors, untied", config(UNTIED)),
        Case("tensors, head_dim not given", config(SILENT)),
        Case("tensors, Qwen3", config(QWEN3)),
        Case("tensors of Llama 3.2 1B", config(LLAMA_3_2_1B)),
        Case("tensors of SmolLM2-135M", real_config),
    ],
)

BYTES = Task(
    function="bytes_per_token",
    oracle=file_oracles.bytes_per_token,
    cases=[
        Case("bytes a token, tied", config(LLAMA)),
        Case("bytes a token, untied", config(UNTIED)),
        Case("bytes a token, Llama 3.2 1B", config(LLAMA_3_2_1B)),
        Case("bytes a token, Llama 3.1 8B", config(LLAMA_3_1_8B)),
        Case("bytes a token, Qwen3 0.6B", config(QWEN3_0_6B)),
    ],
)

STORED = Task(
    function="stored_tensors",
    oracle=file_oracles.stored,
    cases=[
        Case("stored in one file", single(LLAMA)),
        Case("stored in three files", sharded(UNTIED)),
        Case("stored in one file of an index", sharded(QWEN3, count=1)),
        Case("stored beside a stray file", sharded(LLAMA, files=stray)),
        Case("stored whole, beside an old index", single(LLAMA, model__safetensors__index__json=b"{}")),
        Case("stored in large tensors", sharded(BULKY, count=2), count_costs=True),
    ],
    bad_input=[
        BadInput("no weights", bare(config__json=FIELDS), SINGLE),
        BadInput("index is not JSON", indexed(b"{"), INDEX),
        BadInput("index is a list", indexed([]), (INDEX, "weight_map")),
        BadInput("index without weight_map", indexed({"metadata": {}}), (INDEX, "weight_map")),
        BadInput("index of nothing", indexed({"weight_map": {}}), (INDEX, "weight_map")),
        BadInput("index with a number", indexed({"weight_map": {NORM: 3}}), (INDEX, "weight_map", NORM)),
        BadInput(
            "index that leads elsewhere", indexed({"weight_map": {NORM: "../other.safetensors"}}), (INDEX, "weight_map")
        ),
        BadInput(
            "index that leads to a folder below",
            indexed({"weight_map": {NORM: "parts/model.safetensors"}}),
            (INDEX, "weight_map"),
        ),
        BadInput(
            "index that leads to the root", indexed({"weight_map": {NORM: "/model.safetensors"}}), (INDEX, "weight_map")
        ),
        BadInput("index that leads to the folder above", indexed({"weight_map": {NORM: ".."}}), (INDEX, "weight_map")),
        BadInput("file that is missing", sharded(LLAMA, files=lost), "model-00001-of-00003.safetensors"),
        BadInput("file that is cut off", sharded(LLAMA, files=cut), "model-00002-of-00003.safetensors"),
        BadInput("file that git did not fetch", sharded(LLAMA, files=pointer), "model-00003-of-00003.safetensors"),
        BadInput(
            "tensor in two files", sharded(LLAMA, twice=EMBEDDING), (EMBEDDING, "model-00001-of", "model-00003-of")
        ),
    ],
    cost_limits={"host bytes": 8.0},
)

LOAD = Task(
    function="load_weights",
    oracle=file_oracles.weights,
    cases=[
        Case("load, tied", single(LLAMA)),
        Case("load, untied", single(UNTIED)),
        Case("load, Qwen3 in three files", sharded(QWEN3)),
        Case("load, untied in two files", sharded(UNTIED, count=2)),
        Case("load, tied and stored twice", single(QWEN3, second_head)),
        Case("load, large embedding", sharded(BULKY, count=2), count_costs=True),
        Case("SmolLM2-135M, every tensor", real),
    ],
    bad_input=[
        BadInput("no configuration", bare(model__safetensors=save({"x": np.zeros(1)})), CONFIG),
        BadInput("biases", single(BIASED), (CONFIG, "attention_bias")),
        BadInput("tensor missing", single(LLAMA, without(Q)), Q),
        BadInput("tensors missing, of all files", sharded(LLAMA, without(NORM, K)), (NORM, K)),
        BadInput("untied without an output matrix", single(UNTIED, without(HEAD)), HEAD),
        BadInput(
            "a layer too many",
            single(LLAMA, added(model__layers__3__mlp__up_proj__weight=(80, 48))),
            (SINGLE, "layers.3"),
        ),
        BadInput("a bias", single(LLAMA, added(model__layers__0__mlp__up_proj__bias=(80,))), (SINGLE, "up_proj.bias")),
        BadInput(
            "one column short", single(LLAMA, replaced(Q, lambda w: w[:, :-1])), (SINGLE, Q, "(48, 47)", "(48, 48)")
        ),
        BadInput("transposed", single(LLAMA, replaced(K, lambda w: w.T)), (SINGLE, K, "(48, 24)", "(24, 48)")),
        BadInput(
            "norm as a matrix", single(LLAMA, replaced(NORM, lambda w: w[None])), (SINGLE, NORM, "(1, 48)", "(48,)")
        ),
        BadInput("float32", single(LLAMA, replaced(K, lambda w: w.astype(np.float32))), (SINGLE, K, "F32", "BF16")),
        BadInput(
            "float16 in one of three files",
            sharded(LLAMA, replaced(NORM, lambda w: w.view(np.float16))),
            (NORM, "F16", "BF16"),
        ),
        BadInput("tied, but another matrix is stored", single(LLAMA, other_head), (SINGLE, HEAD, EMBEDDING)),
        BadInput("file cut off, to load", sharded(LLAMA, files=cut), "model-00002-of-00003.safetensors"),
    ],
    cost_limits={"host bytes": 1.25},
)

CHECKS = DayChecks([TENSORS, BYTES, STORED, LOAD])
