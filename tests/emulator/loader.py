"""The corpus: small kernels, each planted with one known fault or none, with a header that says which.

Each file under corpus/ starts with comment lines between two `// ---`:

    grid, block, shared_mem, cooperative   the launch
    args      [x float32[64] random, s float32[32] of 64 random, y float32[64] same x, out float32[64] output, n int32 = 5]
    fault     none, or a finding's kind; `// FAULT` marks the lines that may be named
    array     the array that must be named
    expect    for correct kernels, a NumPy expression over the arguments (`x_before` is x as it was)
"""

from __future__ import annotations

import ast
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

CORPUS = Path(__file__).with_name("corpus")
KEYS = {"grid", "block", "shared_mem", "cooperative", "args", "fault", "array", "expect"}


class CorpusError(ValueError):
    """A header that cannot be used; the message names the file and the key."""


@dataclass(frozen=True)
class Argument:
    """One kernel argument: an array with how to fill it, or a number."""

    name: str
    dtype: np.dtype
    shape: tuple[int, ...] | None
    fill: str
    value: int | float = 0
    within: int = 0  # elements of the larger array that it is a slice of


@dataclass(frozen=True)
class Case:
    """One kernel of the corpus."""

    path: Path
    grid: tuple[int, ...]
    block: tuple[int, ...]
    shared_mem: int
    cooperative: bool
    arguments: tuple[Argument, ...]
    fault: str
    array: str
    expect: str

    @property
    def name(self) -> str:
        return f"{self.path.parent.name}/{self.path.stem}"

    @property
    def source(self) -> str:
        return self.path.read_text()

    @property
    def fault_lines(self) -> set[int]:
        return {i for i, line in enumerate(self.source.splitlines(), 1) if "// FAULT" in line}

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple(a.name for a in self.arguments if "output" in a.fill and "zeros" not in a.fill)

    def make_arguments(self) -> list[Any]:
        """Fresh host values, the same each time."""
        made: dict[str, Any] = {}
        for a in self.arguments:
            rng = np.random.default_rng(zlib.crc32(f"{self.name} {a.name}".encode()))
            if a.shape is None:
                made[a.name] = a.dtype.type(a.value)
            elif a.fill.startswith("same "):
                made[a.name] = made[a.fill.removeprefix("same ")]
            else:
                made[a.name] = _filled(a, rng)
        return list(made.values())

    def right(self, before: list[Any], after: list[Any]) -> bool:
        """Whether a correct kernel computed what it should."""
        names: dict[str, Any] = {"np": np}
        for a, old, new in zip(self.arguments, before, after, strict=True):
            names[f"{a.name}_before"], names[a.name] = old, new
        return bool(eval(self.expect, names))


def _filled(a: Argument, rng: np.random.Generator) -> np.ndarray:
    assert a.shape is not None
    size = a.within or int(np.prod(a.shape))
    if "random" in a.fill:
        whole = a.dtype.kind in "iu"
        flat = (rng.integers(0, 200, size) if whole else rng.standard_normal(size)).astype(a.dtype)
    elif "zeros" in a.fill:
        flat = np.zeros(size, a.dtype)
    else:
        flat = np.full(size * a.dtype.itemsize, 0xFF, np.uint8).view(a.dtype)
    return flat[: int(np.prod(a.shape))].reshape(a.shape)


def _argument(text: str, where: str) -> Argument:
    number = re.fullmatch(r"(\w+) (\w+) = (\S+)", text)
    if number:
        return Argument(number[1], np.dtype(number[2]), None, "", ast.literal_eval(number[3]))
    array = re.fullmatch(r"(\w+) (\w+)\[([\d, ]+)\](?: of (\d+))? (\w[\w ]*)", text)
    if not array:
        raise CorpusError(f"{where}: args: {text!r} is neither `name dtype[shape] fill` nor `name dtype = value`")
    dtype = np.dtype(ml_dtypes.bfloat16) if array[2] == "bfloat16" else np.dtype(array[2])
    shape = tuple(int(n) for n in array[3].split(","))
    return Argument(array[1], dtype, shape, array[5], within=int(array[4] or 0))


def load_case(path: Path) -> Case:
    """One file of the corpus.

    Raises:
        CorpusError: its header is not complete.
    """
    parts = path.read_text().split("// ---\n")
    if len(parts) < 3:
        raise CorpusError(f"{path.name}: no header between two lines `// ---`")
    header: dict[str, str] = {}
    for line in parts[1].splitlines():
        key, _, value = line.removeprefix("// ").partition(": ")
        if key not in KEYS:
            raise CorpusError(f"{path.name}: unknown key {key!r}; known: {', '.join(sorted(KEYS))}")
        header[key] = value
    if "args" not in header or "fault" not in header or (header["fault"] == "none") != ("expect" in header):
        raise CorpusError(f"{path.name}: needs `args`, `fault` and, exactly where the fault is none, `expect`")

    def numbers(key: str, default: str) -> tuple[int, ...]:
        value = ast.literal_eval(header.get(key, default))
        return tuple(value) if isinstance(value, list) else (value,)

    arguments = re.findall(r"(?:[^,\[\]]|\[[^\]]*\])+", header["args"].strip()[1:-1])
    return Case(
        path=path,
        grid=numbers("grid", "1"),
        block=numbers("block", "32"),
        shared_mem=int(header.get("shared_mem", "0")),
        cooperative=header.get("cooperative", "false") == "true",
        arguments=tuple(_argument(a.strip(), path.name) for a in arguments),
        fault=header["fault"],
        array=header.get("array", ""),
        expect=header.get("expect", ""),
    )


def load_corpus(folder: str = "") -> list[Case]:
    """All kernels, or those of one folder."""
    return [load_case(path) for path in sorted((CORPUS / folder).rglob("*.cu"))]
