"""Day 1: what a safetensors file says about itself, and its tensors without a copy."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

MAX_HEADER = 100_000_000  # bytes; more is no model but an attack on whoever parses it
MAX_COUNT = 2**64 - 1  # the largest number that a size or an offset can be
# Name in the file: bits of one element, and NumPy's type for it. Where elements share bytes, NumPy has none.
DTYPES: dict[str, tuple[int, Any]] = {
    "BOOL": (8, np.bool_),
    "F4": (4, None),
    "F6_E2M3": (6, None),
    "F6_E3M2": (6, None),
    "U8": (8, np.uint8),
    "I8": (8, np.int8),
    "F8_E5M2": (8, ml_dtypes.float8_e5m2),
    "F8_E4M3": (8, ml_dtypes.float8_e4m3fn),
    "F8_E8M0": (8, ml_dtypes.float8_e8m0fnu),
    "F8_E4M3FNUZ": (8, ml_dtypes.float8_e4m3fnuz),
    "F8_E5M2FNUZ": (8, ml_dtypes.float8_e5m2fnuz),
    "I16": (16, np.int16),
    "U16": (16, np.uint16),
    "F16": (16, np.float16),
    "BF16": (16, ml_dtypes.bfloat16),
    "I32": (32, np.int32),
    "U32": (32, np.uint32),
    "F32": (32, np.float32),
    "C64": (64, np.complex64),
    "F64": (64, np.float64),
    "I64": (64, np.int64),
    "U64": (64, np.uint64),
}
FIELDS = ("dtype", "shape", "data_offsets")


@dataclass(frozen=True)
class TensorInfo:
    """Where a tensor lies and what its bytes mean.

    Attributes:
        dtype: a key of DTYPES.
        shape: sizes, outermost first. The last index runs fastest.
        start, end: the tensor is bytes start to end - 1 of the file, counted from the beginning of the file.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True)
class Header:
    """What the header of a file says.

    Attributes:
        metadata: text about the file, such as {"format": "pt"}; empty where the file has none.
        tensors: by name.
    """

    metadata: dict[str, str]
    tensors: dict[str, TensorInfo]


# ---- given: JSON as strict as the safetensors library's own parser ------------------------------------------------------


def parse_json(text: bytes) -> dict[str, Any]:
    """The header's text as a dict, by a parser that is stricter than Python's.

    It takes UTF-8 only, no key twice in an object, no NaN or Infinity, no number past float64, no half of a surrogate pair, and
    nothing nested more than 127 deep. Whole numbers are ints; those that no 64 bits hold, and -0, are floats.

    Raises:
        ValueError: the text is not such JSON, or not an object.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise ValueError(f"the key {key!r} stands twice in one object")
            found[key] = value
        return found

    def number(digits: str) -> float:
        if math.isinf(float(digits)):
            raise ValueError(f"the number {digits:.30} is past float64")
        return float(digits)

    def whole(digits: str) -> float:
        return number(digits) if digits == "-0" or len(digits) > 20 else int(digits)

    def constant(name: str) -> None:
        raise ValueError(f"{name} is not JSON")

    def depth(value: Any) -> int:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
        return 0 if inner is None else 1 + max(map(depth, inner), default=0)

    try:
        header = json.loads(
            text.decode(), object_pairs_hook=unique, parse_float=number, parse_int=whole, parse_constant=constant
        )
        json.dumps(header, ensure_ascii=False).encode()  # half of a surrogate pair cannot be UTF-8
        too_deep = depth(header) > 127
    except RecursionError:
        too_deep = True
    except ValueError as error:
        raise ValueError(f"the header is not JSON: {error}") from error
    if too_deep:
        raise ValueError("the header is nested too deeply: expected at most 127 objects and lists in each other")
    if type(header) is not dict:
        raise ValueError(f"the header is a {type(header).__name__}: expected an object with an entry for each tensor")
    return {name: entry if name == "__metadata__" else usual_form(entry) for name, entry in header.items()}


def usual_form(entry: Any) -> Any:
    """An entry with named fields, whichever way it is written.

    The library's parser also takes an entry as a list of its three fields, and a dtype as {"F32": null}. Nobody writes them
    like that, but what the library reads, this reads.
    """
    if isinstance(entry, list) and len(entry) == len(FIELDS):
        entry = dict(zip(FIELDS, entry, strict=True))
    dtype = entry.get("dtype") if isinstance(entry, dict) else None
    if isinstance(dtype, dict) and list(dtype.values()) == [None]:
        entry = {**entry, "dtype": next(iter(dtype))}
    return entry


# ---- the lesson ------------------------------------------------------------------------------------------------------


def header_bytes(path: Path) -> bytes:
    """The N bytes of the header, as they stand in the file.

    The length is judged before a byte of the header is read: it is what a hostile file lies about first.

    Raises:
        ValueError: the file is too short for the 8 bytes of the length, the length is more than MAX_HEADER, or the file ends
            before the header does. The message names the file and says `header length`; past the limit, it has the limit.
    """
    raise NotImplementedError("day 1: read the 8 bytes of the length, judge it, then read the header")


def tensor_info(name: str, entry: Any, data_start: int) -> TensorInfo:
    """Check one entry of the header, and say where in the file its tensor lies.

    Args:
        name: of the tensor; the message quotes it, as {name!r} does.
        entry: what the header has under that name: anything that JSON can say. Fields beside the three are ignored.
        data_start: the place in the file that the entry's offsets are counted from.

    Raises:
        ValueError: the entry is not an object, or lacks a field; `dtype` is not in DTYPES; `shape` is not a list of whole
            numbers from 0 to MAX_COUNT, or their product passes MAX_COUNT on the way; `data_offsets` is not two such numbers,
            the second no less than the first; their distance is not what the shape takes. The message names the tensor and
            the field; for the distance, `data_offsets`.
    """
    raise NotImplementedError("day 1: check dtype, shape and data_offsets of one tensor, and that they agree")


def check_layout(tensors: dict[str, TensorInfo], data_start: int, file_size: int) -> None:
    """Refuse tensors that do not cover the data exactly: byte for byte, each belonging to one tensor.

    The header may list them in any order. An empty tensor starts where it ends.

    Args:
        tensors: by name.
        data_start: where in the file the data begins.
        file_size: where it must end.

    Raises:
        ValueError: a tensor starts before the one that precedes it in the file ends, or later; the message names the tensor
            and says `overlap` or `hole`. Or the last one ends before the file does, or after: the message has both places.
    """
    raise NotImplementedError("day 1: walk through the tensors in the order in which they lie in the file")


def parse_header(text: bytes, file_size: int) -> Header:
    """Check all that a header says, without a look at the data.

    `__metadata__` is no tensor: it is an object whose values are text, or null for none.

    Args:
        text: the N bytes of the header.
        file_size: of the whole file. The data begins after the 8 bytes of the length and these N, and ends with the file.

    Raises:
        ValueError: see `parse_json`, `tensor_info` and `check_layout`; or `__metadata__` is something else, which the message
            names.
    """
    raise NotImplementedError("day 1: parse the text; check __metadata__, every entry, and the layout")


def read_header(path: Path) -> Header:
    """Read and check the header of a safetensors file.

    Raises:
        ValueError: see `header_bytes` and `parse_header`; the message names the file.
    """
    text = header_bytes(path)
    try:
        return parse_header(text, path.stat().st_size)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def open_tensors(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file, each a read-only view of the mapped file: none of its data is read or copied.

    Raises:
        ValueError: see `read_header`; or NumPy has no type for a tensor's dtype, or no array of its shape (it takes at most 64
            dimensions). The message names the file, the tensor, and `dtype` or `shape`.
    """
    raise NotImplementedError("day 1: read the header; map the file once, and make an array on it for each tensor")


# ---- for the grading ------------------------------------------------------------------------------------------------


def writable_views(path: Path) -> list[str]:
    """The names of the tensors whose views can be written."""
    return [name for name, view in open_tensors(path).items() if view.flags.writeable]
