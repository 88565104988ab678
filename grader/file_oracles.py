"""The right answers about files of weights, from the safetensors library."""

from __future__ import annotations

import contextlib
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
from grader.spec import File, Model

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
    """Metadata and tensors; where they lie follows from their order in the file, which has no holes."""
    with _path(file) as path, safetensors.safe_open(path, framework="numpy") as opened, path.open("rb") as raw:
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
