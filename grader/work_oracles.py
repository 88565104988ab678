"""The right answers about the work of kernels: from the arrays that each reads and writes, and exact fractions.

They share no formula with the engine: matrices and norms come from the shapes of a model's weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from grader import file_oracles
from grader.spec import LlamaConfig

Array = tuple[tuple[int, ...], int]  # shape, bytes of an element
Listed = Sequence[tuple[str, int, int, int]]


def moved(*arrays: Array) -> int:
    """Bytes of all these arrays, each once."""
    return sum(math.prod(shape) * size for shape, size in arrays)


def elements(*shape: int) -> int:
    """How many numbers an array has."""
    return math.prod(shape)


def norm(rows: int, columns: int) -> tuple[int, int]:
    """Zhang and Sennrich (2019), equation 4: square, add; times the row's factor, times the column's weight."""
    x: Array = (rows, columns), 4
    return moved(x, ((columns,), 4), x), elements(rows, columns) * len(["square", "add", "factor", "weight"])


def product(tokens: int, rows: int, columns: int, weight_bytes: int) -> tuple[int, int]:
    """A multiplication and an addition for each element of the result and each column."""
    arrays: list[Array] = [((tokens, columns), 4), ((rows, columns), weight_bytes), ((tokens, rows), 4)]
    return moved(*arrays), elements(tokens, rows, columns) * len(["multiply", "add"])


def rotation(tokens: int, heads: int, head_dim: int) -> tuple[int, int]:
    """Su et al. (2021), equation 34: a·cos - b·sin and b·cos + a·sin for each pair."""
    x: Array = (tokens, heads, head_dim), 4
    pairs = elements(tokens, heads, head_dim) // 2
    return moved(x, ((tokens,), 4), ((head_dim // 2,), 4), x), pairs * len(["a·c", "b·s", "-", "b·c", "a·s", "+"])


def attention(tokens: int, length: int, heads: int, kv_heads: int, head_dim: int) -> tuple[int, int]:
    """Vaswani et al. (2017), equation 1, causal: each query's keys are counted one query at a time."""
    q: Array = (tokens, heads, head_dim), 4
    k: Array = (length, kv_heads, head_dim), 4
    scores = heads * sum(length - later for later in range(tokens))
    return moved(q, k, k, q), scores * head_dim * len(["multiply", "add", "times the weight", "add up"])


def kernels(config: LlamaConfig, tokens: int, length: int, weight_bytes: int) -> list[dict[str, Any]]:
    """Every kernel of a pass."""
    shapes, fields = file_oracles.shapes(config), config.fields
    hidden, inner = fields["hidden_size"], fields["intermediate_size"]
    layers, vocabulary = fields["num_hidden_layers"], fields["vocab_size"]
    heads, kv_heads = fields["num_attention_heads"], fields["num_key_value_heads"]
    head_dim = fields.get("head_dim") or hidden // heads
    work: dict[str, tuple[int, tuple[int, int]]] = {}  # launches, and what one of them takes

    def add(name: str, launches: int, one: tuple[int, int]) -> None:
        if launches:
            work[name] = launches, one

    def weights(part: str) -> list[tuple[int, ...]]:
        return [shape for name, shape in shapes.items() if name.split(".")[-2] == part]

    def matrices(*parts: str) -> None:
        for part in parts:
            rows, columns = weights(part)[0]
            add(part, len(weights(part)), product(tokens, rows, columns, weight_bytes))

    (ids, stream) = ((tokens,), 4), (tokens, hidden)
    norms = weights("input_layernorm") + weights("post_attention_layernorm")
    add("embedding", 1, (moved(ids, (stream, weight_bytes), (stream, weight_bytes)), 0))
    add("widen", 1, (moved((stream, weight_bytes), (stream, 4)), 0))
    add("norm", len(norms), norm(tokens, norms[0][0]))
    matrices("q_proj", "k_proj", "v_proj")
    for part, count in (("q_norm", heads), ("k_norm", kv_heads)):
        add(part, len(weights(part)), norm(tokens * count, head_dim))
    add("rope q", layers, rotation(tokens, heads, head_dim))
    add("rope k", layers, rotation(tokens, kv_heads, head_dim))
    one: Array = (tokens, kv_heads, head_dim), 4
    add("append", layers, (moved(*[one] * len(["read k", "read v", "write k", "write v"])), 0))
    add("attention", layers, attention(tokens, length, heads, kv_heads, head_dim))
    matrices("o_proj")
    add("add", len(norms), (moved((stream, 4), (stream, 4), (stream, 4)), elements(*stream)))
    matrices("gate_proj", "up_proj")
    wide: Array = (tokens, inner), 4
    add("swiglu", layers, (moved(wide, wide, wide), elements(tokens, inner) * len(["exp", "+", "/", "·"])))
    matrices("down_proj")
    add("final norm", 1, norm(1, hidden))
    add("lm_head", 1, product(1, vocabulary, hidden, weight_bytes))
    add("argmax", 1, (moved(((1, vocabulary), 4), ((1,), 4)), 0))
    return [
        {"name": name, "launches": launches, "bytes": size, "operations": operations}
        for name, (launches, (size, operations)) in work.items()
    ]


# ---- under the roof ------------------------------------------------------------------------------------------------------


def ridges(machines: Sequence[Sequence[float]]) -> np.ndarray:
    """Operations a second over bytes a second."""
    return np.array([float(Fraction(operations) / Fraction(size)) for size, operations in machines])


def standing(one: tuple[str, int, int, int], machine: Sequence[float], seconds: float) -> dict[str, Fraction]:
    """What follows for one kernel, exactly."""
    _, launches, size, operations = one
    bytes_s, operations_s = size / Fraction(machine[0]), operations / Fraction(machine[1])
    floor = max(bytes_s, operations_s)
    return {
        "intensity": Fraction(operations, size), "floor": floor, "share": floor / Fraction(seconds),
        "lost": launches * (Fraction(seconds) - floor), "by operations": Fraction(operations_s >= bytes_s),
    }  # fmt: skip


def figures(listed: Listed, machine: Sequence[float], seconds: Sequence[float]) -> np.ndarray:
    """Intensity, floor, share, time lost."""
    found = [standing(one, machine, s) for one, s in zip(listed, seconds, strict=True)]
    return np.array([[float(f[name]) for name in ("intensity", "floor", "share", "lost")] for f in found])


def bounds(listed: Listed, machine: Sequence[float], seconds: Sequence[float]) -> list[tuple[str, str]]:
    """Whichever takes longer; operations where both take the same time."""
    found = ((one[0], standing(one, machine, s)) for one, s in zip(listed, seconds, strict=True))
    return [(name, "operations" if f["by operations"] else "bytes") for name, f in found]


def worst(listed: Listed, machine: Sequence[float], seconds: Sequence[float], most: int) -> list[str]:
    """The largest is taken out, as often as there is one that loses time."""
    left = [(one[0], standing(one, machine, s)["lost"]) for one, s in zip(listed, seconds, strict=True)]
    out: list[str] = []
    while len(out) < most and any(lost > 0 for _, lost in left):
        first = max(left, key=lambda one: one[1])  # of equals the first
        out.append(first[0])
        left.remove(first)
    return out
