"""Day 24: the roofline: what each kernel must move and compute, how long that takes at least, and where time is lost."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.config import Config

WIDE = 4  # bytes of an activation and of a norm's weight: float32
INDEX = 4  # bytes of a token id and of a position: int32
WEIGHT_BYTES = (1, 2, 4)  # of a number in a matrix: 8 bits, bfloat16, float32

Work = tuple[int, int]  # of one launch: the bytes that it must move at best, and its floating-point operations


def check_positive(name: str, value: Any) -> None:
    """Refuse what is no positive finite number.

    Raises:
        ValueError: names it, says what it is and what was expected.
    """
    if not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"{name} is {value!r}: expected a positive number")


@dataclass(frozen=True)
class Kernel:
    """One kernel of a pass.

    Attributes:
        name: see `kernels`.
        launches: in one pass.
        bytes: that one launch must move at best: each array that it reads, once, and each that it writes, once.
        operations: of one launch.
    """

    name: str
    launches: int
    bytes: int
    operations: int


@dataclass(frozen=True)
class Machine:
    """What a machine gives at best.

    Raises:
        ValueError: one of them is no positive number; the message names it.
    """

    bytes_per_s: float
    operations_per_s: float

    def __post_init__(self) -> None:
        check_positive("bytes_per_s", self.bytes_per_s)
        check_positive("operations_per_s", self.operations_per_s)


@dataclass(frozen=True)
class Standing:
    """A kernel that was measured, beside what the machine could do.

    Attributes:
        seconds: measured, of one launch.
        intensity: operations for each byte.
        floor_s: the least time that one launch can take.
        bound: `bytes` where moving them takes longer than the operations, else `operations`.
        share: of the ceiling that it reaches, 1 for all of it.
        lost_s: time beyond the floor, of all launches of a pass. Negative where the measurement is below the floor.
    """

    kernel: Kernel
    seconds: float
    intensity: float
    floor_s: float
    bound: str
    share: float
    lost_s: float


# ---- the work of one launch ------------------------------------------------------------------------------------------
# Activations are float32. An operation is an addition, a multiplication, a division or an exponential, on each number;
# what is done once for a row, a token or a score is left out.


def norm(rows: int, columns: int) -> Work:
    """RMSNorm (day 7) of x [rows, columns] with a weight [columns] of float32.

    Each number is squared and added up, then scaled by its row's factor and its column's weight.
    """
    # solve: begin
    # stub: raise NotImplementedError("day 24: the bytes and operations of a norm")
    return WIDE * (2 * rows * columns + columns), 4 * rows * columns
    # solve: end


def product(tokens: int, rows: int, columns: int, weight_bytes: int) -> Work:
    """A matrix product (days 8 and 9): x [tokens, columns] times a weight [rows, columns] gives [tokens, rows].

    Args:
        weight_bytes: of a number in the weight.
    """
    # solve: begin
    # stub: raise NotImplementedError("day 24: the bytes and operations of a matrix product")
    moved = WIDE * tokens * (columns + rows) + weight_bytes * rows * columns
    return moved, 2 * tokens * rows * columns
    # solve: end


def rotation(tokens: int, heads: int, head_dim: int) -> Work:
    """RoPE (day 11) of x [tokens, heads, head_dim], by positions [tokens] and frequencies [head_dim / 2] of float32.

    Each pair takes four multiplications and two additions.
    """
    # solve: begin
    # stub: raise NotImplementedError("day 24: the bytes and operations of a rotation")
    numbers = tokens * heads * head_dim
    return WIDE * (2 * numbers + head_dim // 2) + INDEX * tokens, 3 * numbers
    # solve: end


def attention(tokens: int, length: int, heads: int, kv_heads: int, head_dim: int) -> Work:
    """Attention (days 14 and 20) of q [tokens, heads, head_dim] over k and v [length, kv_heads, head_dim].

    The queries are those of the last tokens, and each sees the keys up to its own. For each query, head and key that it
    sees: a dot product, and a row of V times a weight, added up.
    """
    # solve: begin
    # stub: raise NotImplementedError("day 24: the bytes and operations of attention")
    seen = tokens * (length - tokens) + tokens * (tokens + 1) // 2  # keys, over all queries
    return 2 * WIDE * head_dim * (tokens * heads + length * kv_heads), 4 * heads * head_dim * seen
    # solve: end


# ---- a pass --------------------------------------------------------------------------------------------------------------


def check_pass(config: Config, tokens: int, length: int, weight_bytes: int) -> None:
    """Refuse a pass that the model cannot make.

    Raises:
        ValueError: names `tokens`, `length` or `weight_bytes`, says what it is and what was expected.
    """
    for name, value, most in (("length", length, config.max_position_embeddings), ("tokens", tokens, length)):
        if not isinstance(value, int) or not 1 <= value <= most:
            raise ValueError(f"{name} is {value!r}: expected a whole number from 1 to {most}")
    if weight_bytes not in WEIGHT_BYTES:
        raise ValueError(f"weight_bytes is {weight_bytes!r}: expected one of {', '.join(map(str, WEIGHT_BYTES))}")


def kernels(config: Config, tokens: int, length: int, weight_bytes: int = 2) -> list[Kernel]:
    """The kernels of one pass through the model, from token ids to the next token.

    Args:
        tokens: that go in: all of a prompt, or 1 for a decode step.
        length: tokens in the cache after the pass, those included.
        weight_bytes: of a number in a matrix, the embedding and the output matrix too.

    Returns:
        In this order, each with how often it is launched:

        - `embedding` (day 5): token ids, a row of the table for each token; writes those rows, as they are in the table.
        - `widen` (day 2): the rows become float32.
        - `norm`: before attention and before the MLP.
        - `q_proj`, `k_proj`, `v_proj`
        - `q_norm`, `k_norm`: with `config.qk_norm` only; the rows are heads.
        - `rope q`, `rope k`
        - `append` (day 19): reads k and v of the new tokens, writes both into the cache.
        - `attention`, `o_proj`
        - `add`: a residual: two arrays become one, with one operation for each number; after attention and after the MLP.
        - `gate_proj`, `up_proj`
        - `swiglu` (day 15): an exponential, an addition, a division and a multiplication for each number of its result.
        - `down_proj`
        - `final norm`, `lm_head`: of the last token alone. `lm_head` is the output matrix, tied or not.
        - `argmax` (day 18): its logits, and one index.

        What copies and compares has no operations.

    Raises:
        ValueError: see `check_pass`.
    """
    check_pass(config, tokens, length, weight_bytes)
    # solve: begin
    # stub: raise NotImplementedError("day 24: every kernel of a pass, from the model's sizes")
    layers, hidden, inner = config.num_hidden_layers, config.hidden_size, config.intermediate_size
    heads, kv_heads, head_dim = config.num_attention_heads, config.num_key_value_heads, config.head_dim
    q, kv = heads * head_dim, kv_heads * head_dim  # numbers of a token

    def matrix(rows: int, columns: int) -> Work:
        return product(tokens, rows, columns, weight_bytes)

    head_norms = [
        Kernel("q_norm", layers, *norm(tokens * heads, head_dim)),
        Kernel("k_norm", layers, *norm(tokens * kv_heads, head_dim)),
    ]
    return [
        Kernel("embedding", 1, INDEX * tokens + 2 * weight_bytes * tokens * hidden, 0),
        Kernel("widen", 1, (weight_bytes + WIDE) * tokens * hidden, 0),
        Kernel("norm", 2 * layers, *norm(tokens, hidden)),
        Kernel("q_proj", layers, *matrix(q, hidden)),
        Kernel("k_proj", layers, *matrix(kv, hidden)),
        Kernel("v_proj", layers, *matrix(kv, hidden)),
        *(head_norms if config.qk_norm else []),
        Kernel("rope q", layers, *rotation(tokens, heads, head_dim)),
        Kernel("rope k", layers, *rotation(tokens, kv_heads, head_dim)),
        Kernel("append", layers, 4 * WIDE * tokens * kv, 0),
        Kernel("attention", layers, *attention(tokens, length, heads, kv_heads, head_dim)),
        Kernel("o_proj", layers, *matrix(hidden, q)),
        Kernel("add", 2 * layers, 3 * WIDE * tokens * hidden, tokens * hidden),
        Kernel("gate_proj", layers, *matrix(inner, hidden)),
        Kernel("up_proj", layers, *matrix(inner, hidden)),
        Kernel("swiglu", layers, 3 * WIDE * tokens * inner, 4 * tokens * inner),
        Kernel("down_proj", layers, *matrix(hidden, inner)),
        Kernel("final norm", 1, *norm(1, hidden)),
        Kernel("lm_head", 1, *product(1, config.vocab_size, hidden, weight_bytes)),
        Kernel("argmax", 1, WIDE * config.vocab_size + INDEX, 0),
    ]
    # solve: end


# ---- under the roof ------------------------------------------------------------------------------------------------------


def ridge(machine: Machine) -> float:
    """The intensity, operations for each byte, at which both ceilings give the same time."""
    # solve: begin
    # stub: raise NotImplementedError("day 24: where do the two ceilings meet?")
    return machine.operations_per_s / machine.bytes_per_s
    # solve: end


def place(kernel: Kernel, machine: Machine, seconds: float) -> Standing:
    """A measured kernel beside what the machine could do.

    Args:
        seconds: measured, of one launch.

    Raises:
        ValueError: `seconds` is no positive number.
    """
    check_positive("seconds", seconds)
    # solve: begin
    # stub: raise NotImplementedError("day 24: floor, bound, share of the ceiling, time lost")
    bytes_s, operations_s = kernel.bytes / machine.bytes_per_s, kernel.operations / machine.operations_per_s
    floor_s = max(bytes_s, operations_s)
    return Standing(
        kernel=kernel,
        seconds=seconds,
        intensity=kernel.operations / kernel.bytes,
        floor_s=floor_s,
        bound="bytes" if bytes_s > operations_s else "operations",
        share=floor_s / seconds,
        lost_s=kernel.launches * (seconds - floor_s),
    )
    # solve: end


def bottlenecks(standings: Sequence[Standing], most: int = 3) -> list[Standing]:
    """The kernels at which a pass loses most time.

    Args:
        most: how many, at least 1.

    Returns:
        Those that lose most, the worst first. Of equal ones, the one that comes first stays first. A kernel that loses
        nothing is none of them, so there can be fewer than `most`.

    Raises:
        ValueError: names `most`.
    """
    if not isinstance(most, int) or most < 1:
        raise ValueError(f"most is {most!r}: expected a whole number from 1 up")
    # solve: begin
    # stub: raise NotImplementedError("day 24: sort by the time that is lost")
    losing = [standing for standing in standings if standing.lost_s > 0]
    return sorted(losing, key=lambda standing: standing.lost_s, reverse=True)[:most]
    # solve: end


# ---- for the grading ------------------------------------------------------------------------------------------------------

Listed = Sequence[tuple[str, int, int, int]]  # the attributes of kernels


def placed(listed: Listed, machine: Sequence[float], seconds: Sequence[float]) -> list[Standing]:
    """Kernels beside a machine's bytes and operations a second."""
    return [place(Kernel(*one), Machine(*machine), s) for one, s in zip(listed, seconds, strict=True)]


def ridges(machines: Sequence[Sequence[float]]) -> Any:
    """The ridge of each machine, float64."""
    return np.array([ridge(Machine(*machine)) for machine in machines], np.float64)


def figures(listed: Listed, machine: Sequence[float], seconds: Sequence[float]) -> Any:
    """What is computed for each kernel, [kernels, 4] float64: intensity, floor, share, time lost."""
    rows = [(s.intensity, s.floor_s, s.share, s.lost_s) for s in placed(listed, machine, seconds)]
    return np.array(rows, np.float64)


def bounds(listed: Listed, machine: Sequence[float], seconds: Sequence[float]) -> list[tuple[str, str]]:
    """What bounds each kernel."""
    return [(s.kernel.name, s.bound) for s in placed(listed, machine, seconds)]


def worst(listed: Listed, machine: Sequence[float], seconds: Sequence[float], most: int) -> list[str]:
    """The names of the bottlenecks."""
    return [standing.kernel.name for standing in bottlenecks(placed(listed, machine, seconds), most)]
