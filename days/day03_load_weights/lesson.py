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
    raise NotImplementedError("day 3: the embedding, the tensors of every layer, the last norm, the output matrix")


def bytes_per_token(config: Config) -> int:
    """Bytes of weights that have to be read to compute one token: no engine gets below the time that takes.

    Every bfloat16 tensor counts once. Of the embedding a token needs one row; where it is also the output matrix, all of it.
    """
    raise NotImplementedError("day 3: add up the elements that a token needs; two bytes each")


def weight_files(folder: Path) -> list[str]:
    """The names of the files that hold a model's weights: `model.safetensors`, or what the index lists, each once.

    The index is JSON: under `weight_map` it has the file of each tensor. Files lie in the folder itself.

    Raises:
        WeightsError: the folder has neither, or the index is not such JSON, or lists no file or one elsewhere. The message
            names the file; of an index, also `weight_map`.
    """
    raise NotImplementedError("day 3: one file where there is one, else the files of the index")


def stored_tensors(folder: Path) -> dict[str, Stored]:
    """What a model's files say they hold, by name. Only their headers are read.

    Raises:
        WeightsError: see `weight_files`; or a file is missing, cut off or no safetensors file, which the message names, or has
            a tensor that another file has too: the message names the tensor and both.
    """
    raise NotImplementedError("day 3: open each file and note name, dtype and shape of its tensors")


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
    raise NotImplementedError("day 3: names that are missing, names that are too many, shapes, dtypes")


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
    raise NotImplementedError("day 3: configuration, what is stored, is that what is expected, then the tensors")
