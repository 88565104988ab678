"""Messages between the grader and a worker: a JSON header and raw bytes. Nothing that is sent is ever executed."""

from __future__ import annotations

import dataclasses
import json
import os
import select
import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from grader.spec import DTYPES, File, Folder, Llama, LlamaConfig, Model, Part, Stream

MAX_BYTES = 4 << 30
PLAIN = (str, int, float, bool, type(None))


class ChannelClosed(Exception):  # noqa: N818  (what the other side did, not what we did wrong)
    """The other side is gone, or what it sent is not a message."""


class Unsendable(TypeError):  # noqa: N818  (a property of the value)
    """A value of a type that has no place in a message; `args[0]` is the type's name."""


def dtype_named(name: str) -> np.dtype:
    """The dtype of that name, bfloat16 included."""
    return DTYPES.get(name) or np.dtype(name)


# ---- values --------------------------------------------------------------------------------------------------------


def encode(value: Any, blobs: list[bytes | memoryview]) -> Any:
    """A value as JSON, with the bytes of arrays and files apart.

    Args:
        value: plain values, arrays, dicts, lists, tuples, dataclass instances (they arrive as dicts), and the arguments
            that `grader.spec` knows.
        blobs: what it appends to.

    Raises:
        Unsendable: there is something else in it.
    """
    match value:
        case np.ndarray():
            array = np.ascontiguousarray(value)
            blobs.append(array.reshape(-1).view(np.uint8).data if array.size else b"")
            return {"array": value.dtype.name, "shape": list(value.shape), "bytes": value.nbytes}
        case np.generic():
            return encode(np.asarray(value), blobs)
        case _ if isinstance(value, PLAIN):
            return value
        case bytes():
            blobs.append(value)
            return {"raw": len(value)}
        case list() | tuple():
            return {type(value).__name__ if type(value) is list else "tuple": [encode(v, blobs) for v in value]}
        case dict():
            return {"dict": [[encode(k, blobs), encode(v, blobs)] for k, v in value.items()]}
        case File():
            return {"file": value.name, "content": encode(value.content, blobs)}
        case Folder():
            return {"folder": value.name, "files": [[n, encode(c, blobs)] for n, c in value.files.items()]}
        case Model():
            from grader.models import folder

            return {"model": str(folder(value.name) / value.file)}
        case Part():
            return {"part": encode(value.values, blobs)}
        case LlamaConfig():
            return {"config": encode(dict(value.fields), blobs)}
        case Llama() if value.pulled:
            from grader.models import folder

            return {"pulled": str(folder(value.pulled))}
        case Llama():
            return {"llama": encode(dict(value.fields), blobs), "weights": encode(dict(value.weights), blobs)}
        case Stream():
            return {"stream": encode(list(value.items), blobs)}
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return encode({f.name: getattr(value, f.name) for f in dataclasses.fields(value)}, blobs)
    raise Unsendable(type(value).__name__)


class Decoder:
    """The other way round.

    Args:
        blob: the raw part of the message; arrays are views of it.
        scratch: where files and folders that are arguments are written; without it a message that has some is refused.
    """

    def __init__(self, blob: bytearray, scratch: Path | None = None) -> None:
        self.blob, self.place, self.scratch = memoryview(blob), 0, scratch
        self.written: dict[Path, bytes] = {}  # files that were made

    def _take(self, size: int) -> memoryview:
        if not 0 <= size <= len(self.blob) - self.place:
            raise ValueError("a message that ends early")
        self.place += size
        return self.blob[self.place - size : self.place]

    def value(self, described: Any) -> Any:
        """The value that `encode` described.

        Raises:
            ValueError, KeyError, TypeError: not what `encode` makes.
        """
        if not isinstance(described, dict):
            return described
        match next(iter(described)):
            case "array":
                raw = np.frombuffer(self._take(int(described["bytes"])), np.uint8)
                if self.scratch is not None or raw.ctypes.data % 16:
                    raw = raw.copy()  # aligned; and the arguments of a lesson lie apart from each other
                return raw.view(dtype_named(described["array"])).reshape(described["shape"])
            case "raw":
                return bytes(self._take(int(described["raw"])))
            case "list":
                return [self.value(v) for v in described["list"]]
            case "tuple":
                return tuple(self.value(v) for v in described["tuple"])
            case "dict":
                return {self.value(k): self.value(v) for k, v in described["dict"]}
            case "file":
                return self._write(self._scratch() / described["file"], described["content"])
            case "folder":
                folder = self._scratch() / described["folder"]
                folder.mkdir(parents=True, exist_ok=True)
                for name, content in described["files"]:
                    self._write(folder / name, content)
                return folder
            case "model":
                return Path(described["model"])
            case "part":
                return Part(self.value(described["part"]))
            case "config":
                return LlamaConfig(self.value(described["config"]))
            case "pulled":
                return Llama(pulled=described["pulled"])
            case "llama":
                return Llama(self.value(described["llama"]), self.value(described["weights"]))
            case "stream":
                return Stream(tuple(self.value(described["stream"])))
        raise ValueError(f"a message with {next(iter(described))!r} in it")

    def _scratch(self) -> Path:
        if self.scratch is None:
            raise ValueError("files are not expected here")
        return self.scratch

    def _write(self, path: Path, content: Any) -> Path:
        self.written[path] = self.value(content)
        path.write_bytes(self.written[path])
        return path


# ---- messages ------------------------------------------------------------------------------------------------------


def send(descriptor: int, header: dict[str, Any], blobs: Sequence[bytes | memoryview] = ()) -> None:
    """Write one message.

    Raises:
        ChannelClosed: nobody reads any more.
    """
    text = json.dumps(header).encode()
    size = sum(len(b) for b in blobs)
    try:
        for part in (struct.pack("<QQ", len(text), size) + text, *blobs):
            rest = memoryview(part)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
    except OSError as error:
        raise ChannelClosed(str(error)) from error


def receive(
    descriptor: int, limit_s: float | None = None, most_bytes: int = MAX_BYTES
) -> tuple[dict[str, Any], bytearray]:
    """Read one message.

    Args:
        limit_s: seconds in which all of it must have come.
        most_bytes: that its raw part may have.

    Raises:
        ChannelClosed: end of file, bytes that are no message, or a message that stops in the middle.
    """
    deadline = None if limit_s is None else time.monotonic() + limit_s
    text_length, body_length = struct.unpack("<QQ", _read(descriptor, 16, deadline))
    if text_length > 64 << 20 or body_length > min(most_bytes, MAX_BYTES):
        raise ChannelClosed("what came is not a message")
    try:
        header = json.loads(_read(descriptor, text_length, deadline))
    except (ValueError, RecursionError) as error:
        raise ChannelClosed("what came is not a message") from error
    if not isinstance(header, dict):
        raise ChannelClosed("what came is not a message")
    return header, _read(descriptor, body_length, deadline)


def _read(descriptor: int, count: int, deadline: float | None) -> bytearray:
    buffer = bytearray(count)
    rest = memoryview(buffer)
    while rest:
        if deadline is not None and not select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise ChannelClosed("a message that stops in the middle")
        got = os.readv(descriptor, [rest[: 1 << 24]])
        if not got:
            raise ChannelClosed("end of file")
        rest = rest[got:]
    return buffer
