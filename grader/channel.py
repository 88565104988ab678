"""Messages between the grader and a worker: a JSON header and raw array bytes. Nothing that is sent is ever executed."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from grader.spec import DTYPES

MAX_BYTES = 4 << 30


class ChannelClosed(Exception):  # noqa: N818  (what the other side did, not what we did wrong)
    """The other side is gone, or what it sent is not a message."""


def dtype_named(name: str) -> np.dtype:
    """The dtype of that name, bfloat16 included."""
    return DTYPES.get(name) or np.dtype(name)


def encode(values: Sequence[Any]) -> tuple[list[Any], list[bytes]]:
    """Arrays and plain values as JSON, with the arrays' bytes apart."""
    described: list[Any] = []
    blobs: list[bytes] = []
    for value in values:
        if isinstance(value, np.ndarray):
            described.append({"dtype": value.dtype.name, "shape": list(value.shape), "bytes": value.nbytes})
            blobs.append(np.ascontiguousarray(value).tobytes())
        else:
            described.append(value)
    return described, blobs


def decode(described: Sequence[Any], blob: bytes) -> list[Any]:
    """The other way round; each array is a fresh, writable copy."""
    values: list[Any] = []
    place = 0
    for entry in described:
        if not isinstance(entry, dict):
            values.append(entry)
            continue
        dtype, size = dtype_named(entry["dtype"]), int(entry["bytes"])
        array = np.frombuffer(blob, np.uint8, size, place).copy().view(dtype)
        values.append(array.reshape(entry["shape"]))
        place += size
    return values


def send(descriptor: int, header: dict[str, Any], blobs: Sequence[bytes] = ()) -> None:
    """Write one message.

    Raises:
        ChannelClosed: nobody reads any more.
    """
    text = json.dumps(header).encode()
    body = b"".join(blobs)
    message = memoryview(struct.pack("<QQ", len(text), len(body)) + text + body)
    try:
        while message:
            message = message[os.write(descriptor, message) :]
    except OSError as error:
        raise ChannelClosed(str(error)) from error


def receive(descriptor: int) -> tuple[dict[str, Any], bytes]:
    """Read one message.

    Raises:
        ChannelClosed: end of file, or bytes that are no message.
    """
    lengths = _read(descriptor, 16)
    text_length, body_length = struct.unpack("<QQ", lengths)
    if text_length > 64 << 20 or body_length > MAX_BYTES:
        raise ChannelClosed("what came is not a message")
    try:
        header = json.loads(_read(descriptor, text_length))
    except ValueError as error:
        raise ChannelClosed("what came is not a message") from error
    if not isinstance(header, dict):
        raise ChannelClosed("what came is not a message")
    return header, _read(descriptor, body_length)


def _read(descriptor: int, count: int) -> bytes:
    parts = []
    while count:
        part = os.read(descriptor, min(count, 1 << 24))
        if not part:
            raise ChannelClosed("end of file")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
