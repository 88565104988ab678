"""Day 3: a model's weights on the device: all of them, of the right shapes, each byte once."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open

from engine import config as configuration
from engine import device
from engine.config import Config

SINGLE = "model.safetensors"  # a model in one file
INDEX = "model.safetensors.index.json"  # or in several: what lies in which
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
DTYPE, ELEMENT = "BF16", np.dtype(ml_dtypes.bfloat16)  # in the file and in memory; importing it teaches NumPy the name


class WeightsError(ValueError):
    """Weights that are not what the configuration says; the message names the file, the tensor and what was expected."""


@dataclass(frozen=True)
class Stored:
    """Where a tensor lies.

    Attributes:
        file: its name in the model's folder.
        dtype: as the file calls it, such as `BF16`.
        shape: sizes, outermost first.
    """

    file: str
    dtype: str
    shape: tuple[int, ...]


def expected_tensors(config: Config) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor that a model has, by Hugging Face's names.

    A matrix is [out, in]. With tied embeddings there is no `lm_head.weight`: the embedding is used twice.
    """
    # solve: begin
    # stub: raise NotImplementedError("day 3: the embedding, the tensors of every layer, the last norm, the output matrix")
    hidden, mlp = config.hidden_size, config.intermediate_size
    q = config.num_attention_heads * config.head_dim
    kv = config.num_key_value_heads * config.head_dim
    layer = {
        "input_layernorm": (hidden,),
        "self_attn.q_proj": (q, hidden),
        "self_attn.k_proj": (kv, hidden),
        "self_attn.v_proj": (kv, hidden),
        "self_attn.o_proj": (hidden, q),
        "post_attention_layernorm": (hidden,),
        "mlp.gate_proj": (mlp, hidden),
        "mlp.up_proj": (mlp, hidden),
        "mlp.down_proj": (hidden, mlp),
    }
    if config.qk_norm:
        layer |= {"self_attn.q_norm": (config.head_dim,), "self_attn.k_norm": (config.head_dim,)}
    shapes: dict[str, tuple[int, ...]] = {EMBEDDING: (config.vocab_size, hidden), "model.norm.weight": (hidden,)}
    for number in range(config.num_hidden_layers):
        shapes |= {f"model.layers.{number}.{name}.weight": shape for name, shape in layer.items()}
    if not config.tie_word_embeddings:
        shapes[HEAD] = (config.vocab_size, hidden)
    return shapes
    # solve: end


def bytes_per_token(config: Config) -> int:
    """Bytes of weights that have to be read to compute one token: no engine gets below the time that takes.

    Every bfloat16 tensor counts once. Of the embedding a token needs one row; where it is also the output matrix, all of it.
    """
    # solve: begin
    # stub: raise NotImplementedError("day 3: add up the elements that a token needs; two bytes each")
    elements = sum(math.prod(shape) for shape in expected_tensors(config).values())
    if not config.tie_word_embeddings:
        elements -= (config.vocab_size - 1) * config.hidden_size
    return elements * ELEMENT.itemsize
    # solve: end


def weight_files(folder: Path) -> list[str]:
    """The names of the files that hold a model's weights: `model.safetensors`, or what the index lists, each once.

    The index is JSON: under `weight_map` it has the file of each tensor. Files lie in the folder itself.

    Raises:
        WeightsError: the folder has neither, or the index is not such JSON, or lists no file or one elsewhere. The message
            names the file; of an index, also `weight_map`.
    """
    # solve: begin
    # stub: raise NotImplementedError("day 3: one file where there is one, else the files of the index")
    if (folder / SINGLE).is_file():
        return [SINGLE]
    index = folder / INDEX
    if not index.is_file():
        raise WeightsError(f"{folder}: no weights here: expected {SINGLE}, or {INDEX} and the files that it lists")
    try:
        content = json.loads(index.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsError(f"{index}: not JSON: {error}") from error
    places = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(places, dict) or not places:
        raise WeightsError(f"{index}: weight_map is {places!r:.60}: expected an object with the file of each tensor")
    for tensor, file in places.items():
        if not isinstance(file, str) or file in ("", "..") or Path(file).name != file:
            raise WeightsError(
                f"{index}: weight_map: {tensor} is in {file!r:.60}: expected the name of a file beside it"
            )
    return sorted(set(places.values()))
    # solve: end


def stored_tensors(folder: Path) -> dict[str, Stored]:
    """What a model's files say they hold, by name. Only their headers are read.

    Raises:
        WeightsError: see `weight_files`; or a file is missing, cut off or no safetensors file, which the message names, or has
            a tensor that another file has too: the message names the tensor and both.
    """
    # solve: begin
    # stub: raise NotImplementedError("day 3: open each file and note name, dtype and shape of its tensors")
    found: dict[str, Stored] = {}
    for file in weight_files(folder):
        with opened(folder / file) as tensors:
            for name in tensors.keys():  # noqa: SIM118  (not a dict)
                if name in found:
                    raise WeightsError(f"{folder / file}: tensor {name} is in {found[name].file} too: expected it once")
                view = tensors.get_slice(name)
                found[name] = Stored(file, view.get_dtype(), tuple(view.get_shape()))
    return found
    # solve: end


def opened(path: Path) -> Any:
    """A safetensors file as the library opens it: `keys()`, `get_slice(name)` for dtype and shape, `get_tensor(name)`.

    Raises:
        WeightsError: there is no such file, or it is not one.
    """
    try:
        return safe_open(path, framework="numpy")
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: no such file, though the index lists it") from error
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: not a complete safetensors file: {error}") from error


def check_tensors(found: Mapping[str, Stored], expected: Mapping[str, tuple[int, ...]], folder: Path) -> None:
    """Refuse what is not exactly what is expected.

    Raises:
        WeightsError: tensors are missing or unexpected, and the message names up to five of them (and the file of an
            unexpected one); or one has another shape or dtype, and the message names its file, it, what it has and what was
            expected.
    """
    # solve: begin
    # stub: raise NotImplementedError("day 3: names that are missing, names that are too many, shapes, dtypes")
    missing = [name for name in expected if name not in found]
    if missing:
        raise WeightsError(f"{folder}: {len(missing)} tensors are missing: {listed(missing)}")
    unexpected = [name for name in found if name not in expected]
    if unexpected:
        file = folder / found[unexpected[0]].file
        raise WeightsError(f"{file}: {len(unexpected)} tensors are not the model's: {listed(unexpected)}")
    for name, stored in found.items():
        if stored.shape != expected[name]:
            raise WeightsError(
                f"{folder / stored.file}: tensor {name} has shape {stored.shape}: expected {expected[name]}"
            )
        if stored.dtype != DTYPE:
            raise WeightsError(f"{folder / stored.file}: tensor {name} is {stored.dtype}: expected {DTYPE}")
    # solve: end


def listed(names: list[str]) -> str:
    """The first five names."""
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def read_tensors(found: Mapping[str, Stored], folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """The tensors one by one, each in memory of its own on the host, file by file."""
    for file in sorted({stored.file for stored in found.values()}):
        with opened(folder / file) as tensors:
            for name, stored in found.items():
                if stored.file == file:
                    yield name, tensors.get_tensor(name)


def check_tied(found: Mapping[str, Stored], folder: Path) -> None:
    """Refuse an output matrix that is stored beside the embedding though it should be the same: it must be, bit for bit.

    Raises:
        WeightsError: it is not; the message names its file and both tensors.
    """
    both = dict(read_tensors({name: found[name] for name in (EMBEDDING, HEAD)}, folder))
    if both[HEAD].tobytes() != both[EMBEDDING].tobytes():
        raise WeightsError(
            f"{folder / found[HEAD].file}: {HEAD} differs from {EMBEDDING}: expected the same, as config.json has"
            " tie_word_embeddings"
        )


def load_weights(folder: Path) -> dict[str, Any]:
    """A model's weights, bfloat16, on the device in use.

    Everything is checked before the first tensor is read. The host holds one tensor at a time where the device is a GPU, and
    no second copy of any where it is the host itself.

    Args:
        folder: with config.json and safetensors files.

    Returns:
        Arrays by Hugging Face's names, `lm_head.weight` among them: with tied embeddings it is the embedding's array itself.
        Some files of tied models hold a second copy of it, which must be the same and is left where it is.

    Raises:
        ValueError: `engine.config` refuses the configuration; or see `stored_tensors`, `check_tensors` and `check_tied`.
    """
    folder = Path(folder)
    # solve: begin
    # stub: raise NotImplementedError("day 3: configuration, what is stored, is that what is expected, then the tensors")
    config = configuration.read(folder)
    expected, found = expected_tensors(config), stored_tensors(folder)
    tied = config.tie_word_embeddings
    copied = tied and HEAD in found
    check_tensors(found, expected | {HEAD: expected[EMBEDDING]} if copied else expected, folder)
    if copied:
        check_tied(found, folder)
        del found[HEAD]
    weights = {name: device.xp.asarray(array) for name, array in read_tensors(found, folder)}
    if tied:
        weights[HEAD] = weights[EMBEDDING]
    return weights
    # solve: end
