"""Day 1, the safetensors header: the library's answer on good files, hostile files refused by name, views without a copy."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from grader import file_oracles
from grader.spec import BadInput, Case, DayChecks, File, Model, Task

NAME = "model.safetensors"
MODEL = "smollm2-135m"
BITS = file_oracles.BITS
Make = Callable[[np.random.Generator], Sequence[Any]]


def file(
    header: Any, data: bytes = b"", *, length: int | None = None, before: bytes = b"", after: bytes = b""
) -> bytes:
    """A safetensors file, right or wrong.

    Args:
        header: what becomes JSON, or the header's text itself.
        data: what follows the header.
        length: what the first 8 bytes say; default: the truth.
        before, after: bytes around the header's text that belong to it, such as padding.
    """
    text = header if isinstance(header, bytes) else json.dumps(header, ensure_ascii=False).encode()
    text = before + text + after
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(dtype: str, shape: Sequence[int], start: int) -> dict[str, Any]:
    """What the header says of a tensor that starts there."""
    size = int(np.prod(shape, dtype=object)) * BITS[dtype] // 8
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, start + size]}


def table(tensors: Mapping[str, tuple[str, Sequence[int]]]) -> tuple[dict[str, Any], int]:
    """The header of tensors that lie one after the other, and the size of their data."""
    out: dict[str, Any] = {}
    place = 0
    for name, (dtype, shape) in tensors.items():
        out[name] = entry(dtype, shape, place)
        place = out[name]["data_offsets"][1]
    return out, place


TWO = {"model.norm.weight": ("F32", (5,)), "model.embed_tokens.weight": ("BF16", (7, 3))}
EVERY = {f"of_{dtype}": (dtype, (4, 2)) for dtype in BITS}
WITH_EMPTY = {
    "none": ("F32", (0, 5)), "a": ("F32", (2,)), "scalar": ("F16", ()), "between": ("I64", (3, 0)), "b": ("U8", (3,)),
    "last": ("BF16", (0,)),
}  # fmt: skip
ODD = {"mask": ("BOOL", (3,)), "first": ("F32", (2, 2)), "flag": ("I8", (1,)), "second": ("BF16", (3,))}
DEEP = {"deep": ("F32", (1, 2, 1, 3, 1, 1, 2, 1)), "": ("I16", (1, 1)), "größe/重み 🙂": ("F16", (2, 1, 3))}


def good(
    tensors: Mapping[str, tuple[str, Sequence[int]]],
    extra: Mapping[str, Any] | None = None,
    *,
    backwards: bool = False,
    before: bytes = b"",
    after: bytes = b"",
) -> Make:
    """A file of these tensors, random bytes for data.

    Args:
        extra: what else the header has.
        backwards: list the tensors in the header from the last to the first.
    """

    def make(rng: np.random.Generator) -> Sequence[Any]:
        header, size = table(tensors)
        if backwards:
            header = dict(reversed(header.items()))
        return [File(NAME, file({**(extra or {}), **header}, rng.bytes(size), before=before, after=after))]

    return make


def written_oddly(rng: np.random.Generator) -> Sequence[Any]:
    """JSON is more than what `json.dumps` makes: escapes in a name, spaces, fields in another order, fields to ignore."""
    text = rb"""{ "w\u0065ight\n" : {"data_offsets":[0, 8],"note":{"a":[1.5e3,null]},"shape":[ 2 ],"dtype":"\u00463\u0032"} }"""
    return [File(NAME, file(text, rng.bytes(8)))]


def zero_times_huge(rng: np.random.Generator) -> Sequence[Any]:
    """Nothing, times more than 64 bits hold, is nothing: sizes are multiplied from the left."""
    header = {"a": {"dtype": "F32", "shape": [0, 2**63, 4], "data_offsets": [0, 0]}}
    return [File(NAME, file(header))]


def special_bits(rng: np.random.Generator) -> Sequence[Any]:
    """NaNs with a payload, minus zero and infinities: values are not looked at, so no bit may change."""
    values = np.array([0x7FC00001, 0xFF812345, 0x80000000, 0x7F800000, 0xFF800000, 0x00000001], "<u4")
    halves = np.array([0x7FC1, 0xFF81, 0x8000, 0x7F80, 0x0001], "<u2")
    header, _ = table({"f": ("F32", (6,)), "b": ("BF16", (5,))})
    return [File(NAME, file(header, values.tobytes() + halves.tobytes()))]


def large(rng: np.random.Generator) -> Sequence[Any]:
    """Four megabytes behind a short header: whoever copies them, shows."""
    return good({"a": ("BF16", (1024, 1024)), "b": ("F32", (512, 1024))})(rng)


def real(rng: np.random.Generator) -> Sequence[Any]:
    """The file of a real model."""
    return [Model(MODEL, NAME)]


def bad(content: bytes) -> Make:
    """A file with exactly this content."""
    return lambda rng: [File(NAME, content)]


def changed(tensor: str, **fields: Any) -> Make:
    """Two good tensors, with other fields in one of them; None takes the field away."""

    def make(rng: np.random.Generator) -> Sequence[Any]:
        header, size = table(TWO)
        fresh = header[tensor] | fields
        header[tensor] = {key: value for key, value in fresh.items() if value is not None}
        return [File(NAME, file(header, rng.bytes(size)))]

    return make


def laid_out(*offsets: tuple[int, int], size: int) -> Make:
    """Tensors t0, t1, … of bytes at these offsets, in so many bytes of data."""
    header = {f"t{i}": {"dtype": "U8", "shape": [b - a], "data_offsets": [a, b]} for i, (a, b) in enumerate(offsets)}
    return lambda rng: [File(NAME, file(header, rng.bytes(size)))]


def overflowing(*shape: int, dtype: str = "U8") -> Make:
    """A tensor of no bytes whose sizes, multiplied from the left, pass 64 bits, or nearly."""
    return bad(file({"a": {"dtype": dtype, "shape": shape, "data_offsets": [0, 0]}}))


def alone(text: str, size: int = 4) -> Make:
    """This text as the header, before so many bytes."""
    return bad(file(text.encode(), bytes(size)))


NORM, EMBEDDING = TWO
LENGTH = (NAME, "header length")
ONE = '{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'

BYTES = Task(
    function="header_bytes",
    oracle=file_oracles.header_bytes,
    cases=[
        Case("header of two tensors", good(TWO)),
        Case("header of nothing", bad(file(b"{}"))),
        Case("header with padding", good(TWO, after=b"     ")),
        Case("header of more bytes than letters", good(DEEP)),
        Case("header of 256 bytes and more", good(EVERY)),
    ],
    bad_input=[
        BadInput("empty file", bad(b""), LENGTH),
        BadInput("file of 7 bytes", bad(bytes(7)), LENGTH),
        BadInput("length, and no more", bad(file({}, length=2)[:8]), LENGTH),
        BadInput(
            "length one past the end of the file", bad(file(table(TWO)[0], length=len(file(table(TWO)[0])) - 7)), LENGTH
        ),
        BadInput("header cut off", bad(file(table(TWO)[0])[:50]), LENGTH),
        BadInput("length of 100,000,001", bad(file({}, length=100_000_001)), (*LENGTH, "100000000")),
        BadInput("length of 2^63", bad(file({}, length=2**63)), (*LENGTH, "100000000")),
    ],
)

HEADER = Task(
    function="read_header",
    oracle=file_oracles.header,
    cases=[
        Case("two tensors", good(TWO)),
        Case("no tensor", bad(file(b"{}      "))),
        Case("every dtype", good(EVERY)),
        Case("scalar and empty tensors", good(WITH_EMPTY)),
        Case("odd places", good(ODD)),
        Case("listed backwards", good(WITH_EMPTY, backwards=True)),
        Case("many dimensions, many alphabets", good(DEEP)),
        Case("metadata", good(TWO, {"__metadata__": {"format": "pt", "größe": ""}})),
        Case("metadata null", good(TWO, {"__metadata__": None})),
        Case("space around the header", good(TWO, before=b" \n", after=b"\t\r\n  ")),
        Case("JSON written oddly", written_oddly),
        Case("zero times 2^63 times 4", zero_times_huge),
        Case("2^63 times zero", overflowing(2**63, 0, dtype="F32")),
        Case("four megabytes, header only", large, count_costs=True),
        Case("SmolLM2-135M, header", real),
    ],
    bad_input=[
        BadInput("not UTF-8", bad(file(b'{"\xff":' + ONE.encode() + b"}", bytes(4))), (NAME, "header")),
        BadInput("not JSON", alone('{"a":' + ONE + ",}"), (NAME, "header")),
        BadInput("header is a list", alone("[" + ONE + "]"), (NAME, "header")),
        BadInput("NaN in an ignored field", alone('{"a":' + ONE[:-1] + ',"x":NaN}}'), (NAME, "header")),
        BadInput("the same tensor twice", alone('{"a":' + ONE + ',"a":' + ONE + "}"), (NAME, "'a'")),
        BadInput("the same field twice", alone('{"a":' + ONE[:-1] + ',"dtype":"F32"}}'), (NAME, "dtype")),
        BadInput("metadata twice", alone('{"__metadata__":{},"__metadata__":{}}', 0), (NAME, "__metadata__")),
        BadInput("number in the metadata", good(TWO, {"__metadata__": {"layers": 30}}), (NAME, "__metadata__")),
        BadInput("null in the metadata", good(TWO, {"__metadata__": {"format": None}}), (NAME, "__metadata__")),
        BadInput("metadata is a list", good(TWO, {"__metadata__": ["pt"]}), (NAME, "__metadata__")),
        BadInput("tensor is null", good({}, {NORM: None}), (NAME, NORM)),
        BadInput("no dtype", changed(NORM, dtype=None), (NAME, NORM, "dtype")),
        BadInput("no shape", changed(NORM, shape=None), (NAME, NORM, "shape")),
        BadInput("no data_offsets", changed(NORM, data_offsets=None), (NAME, NORM, "data_offsets")),
        BadInput("unknown dtype", changed(EMBEDDING, dtype="BF17"), (NAME, EMBEDDING, "dtype")),
        BadInput("dtype in small letters", changed(EMBEDDING, dtype="bf16"), (NAME, EMBEDDING, "dtype")),
        BadInput("dtype is a number", changed(EMBEDDING, dtype=16), (NAME, EMBEDDING, "dtype")),
        BadInput("shape is a number", changed(NORM, shape=5), (NAME, NORM, "shape")),
        BadInput("two negative sizes", changed(EMBEDDING, shape=[-7, -3]), (NAME, EMBEDDING, "shape")),
        BadInput("size with a point", changed(NORM, shape=[5.0]), (NAME, NORM, "shape")),
        BadInput("size in quotes", changed(NORM, shape=["5"]), (NAME, NORM, "shape")),
        BadInput("true for a size", changed(NORM, shape=[5, True]), (NAME, NORM, "shape")),
        BadInput("size of 2^64", overflowing(2**64, 0), ("'a'", "shape")),
        BadInput("2^63 times 4 times 0", overflowing(2**63, 4, 0), ("'a'", "shape")),
        BadInput("2^62 times 4", overflowing(2**62, 4), ("'a'", "shape")),
        BadInput("three offsets", changed(NORM, data_offsets=[0, 20, 20]), (NAME, NORM, "data_offsets")),
        BadInput("negative offset", changed(NORM, data_offsets=[-20, 0]), (NAME, NORM, "data_offsets")),
        BadInput("offset with a point", changed(NORM, data_offsets=[0, 20.0]), (NAME, NORM, "data_offsets")),
        BadInput("end before start", changed(NORM, data_offsets=[20, 0]), (NAME, NORM, "data_offsets")),
        BadInput("one element more than bytes", changed(NORM, shape=[6]), (NAME, NORM, "data_offsets")),
        BadInput("one element less than bytes", changed(EMBEDDING, shape=[4, 5]), (NAME, EMBEDDING, "data_offsets")),
        BadInput("another dtype than bytes", changed(EMBEDDING, dtype="F32"), (NAME, EMBEDDING, "data_offsets")),
        BadInput("41 F4 in 20 bytes", changed(NORM, dtype="F4", shape=[41]), (NAME, NORM, "data_offsets")),
        BadInput("hole between tensors", laid_out((0, 4), (8, 12), size=12), (NAME, "t1", "hole")),
        BadInput("hole before all tensors", laid_out((4, 8), size=8), (NAME, "t0", "hole")),
        BadInput("tensors overlap", laid_out((0, 8), (4, 12), size=12), (NAME, "t1", "overlap")),
        BadInput("two tensors in one place", laid_out((0, 4), (0, 4), size=4), (NAME, "overlap")),
        BadInput("a tensor inside another", laid_out((0, 12), (4, 8), size=12), (NAME, "t1", "overlap")),
        BadInput("an empty tensor inside another", laid_out((0, 12), (4, 4), size=12), (NAME, "t1", "overlap")),
        BadInput("last byte missing", laid_out((0, 4), (4, 12), size=11), (NAME,)),
        BadInput("a byte too many", laid_out((0, 4), (4, 12), size=13), (NAME,)),
        BadInput("data of no tensor", bad(file(b"{}", bytes(8))), (NAME,)),
    ],
    cost_limits={"host bytes": 8.0},
)

TENSORS = Task(
    function="open_tensors",
    oracle=file_oracles.tensors,
    cases=[
        Case("two tensors, opened", good(TWO)),
        Case("every dtype of NumPy, opened", good({n: t for n, t in EVERY.items() if BITS[t[0]] >= 8})),
        Case("scalar and empty tensors, opened", good(WITH_EMPTY, backwards=True)),
        Case("odd places, opened", good(ODD)),
        Case("many dimensions, opened", good(DEEP, {"__metadata__": {"format": "pt"}})),
        Case("special values, opened", special_bits),
        Case("no tensor, opened", bad(file(b"{}"))),
        Case("four megabytes, opened", large, count_costs=True),
    ],
    bad_input=[
        BadInput("elements that share bytes, opened", good({"w": ("F4", (6,))}), (NAME, "'w'", "dtype")),
        BadInput("65 dimensions, opened", good({"w": ("F32", (1,) * 65)}), (NAME, "'w'", "shape")),
        BadInput("hole between tensors, opened", laid_out((0, 4), (8, 12), size=12), (NAME, "t1", "hole")),
    ],
    cost_limits={"host bytes": 8.0},
)

WRITABLE = Task(
    function="writable_views",
    oracle=lambda _: [],
    cases=[Case("no view can be written", good(WITH_EMPTY))],
)

CHECKS = DayChecks([BYTES, HEADER, TENSORS, WRITABLE])
