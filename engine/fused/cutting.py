"""How the rows of a matrix are cut for a launch: blocks, warps, and how much of the matrix is on its way at once."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any, NamedTuple

from engine import device
from engine.config import Config
from engine.fused.weights import KINDS

BLOCK_BYTES = 108 << 10  # of shared memory, for activations and rings: blocks of two kernels fit on a multiprocessor
TUNED = Path(__file__).with_name("tuned.json")
CPU_WARPS = 8  # of a block in the emulator, which gives 256 threads or fewer to one core


class Cut(NamedTuple):
    """How one kernel takes its rows; see kernels/decode/row_stream.cuh.

    Attributes:
        grid: blocks.
        warps: of a block.
        span: rows that a warp multiplies side by side.
        depth: groups of vectors in a lane's ring.
        ring_bytes: of a block's shared memory.
    """

    grid: int
    warps: int
    span: int
    depth: int
    ring_bytes: int


def group(columns: int, kind: str) -> tuple[int, int]:
    """Vectors of a group, and groups of a row: what kernels/decode/row_stream.cuh has for as many columns."""
    per_lane = -(-(columns // KINDS[kind]) // 32)
    vectors = next(n for n in (4, 3, 2, 1) if per_lane % n == 0)
    return vectors, per_lane // vectors


def make_cut(rows: int, columns: int, kind: str, blocks: int, *, warps: int, span: int, depth: int) -> Cut:
    """A cut with these numbers; no more blocks than there is work for."""
    vectors, _ = group(columns, kind)
    grid = min(blocks, -(-(rows // span) // warps))
    return Cut(grid, warps, span, depth, warps * depth * span * vectors * 512)


def balanced(rows: int, columns: int, kind: str, processors: int, least_span: int = 1) -> Cut:
    """The cut for a GPU in which the fewest warps of the last round are idle; of several, one with about eight warps.

    Args:
        rows, columns: of the matrix.
        processors: multiprocessors, each of which gets a block.
        least_span: rows that must be in one warp.
    """
    vectors, groups = group(columns, kind)

    def rounds(span: int, warps: int) -> int:
        return -(-(rows // span) // (processors * warps))

    def busy(span: int, warps: int) -> float:
        return rows // span / (rounds(span, warps) * processors * warps)

    spans = [s for s in (2, 1) if rows % s == 0 and s >= least_span]
    candidates = [
        (s, w) for s in spans for w in (8, 12, 16, 10, 14, 6, 4, 9, 11, 13, 15, 5, 7)
    ]  # the first that is good
    best = max(busy(*candidate) for candidate in candidates)
    span, warps = next(candidate for candidate in candidates if busy(*candidate) >= best - 0.03)
    most = (BLOCK_BYTES - 4 * columns) // (warps * span * vectors * 512)
    depth = max(1, min(most, groups * rounds(span, warps)))
    return make_cut(rows, columns, kind, processors, warps=warps, span=span, depth=depth)


@functools.cache
def tuned() -> dict[str, dict[str, dict[str, Any]]]:
    """What benchmarks/tune.py has found, by GPU and kind of weights.

    [grid, warps, span, depth] by `rows × columns` of a matrix; by `name_of` a model, what the persistent kernel is compiled for
    where that is the fastest.
    """
    found: dict[str, dict[str, dict[str, Any]]] = json.loads(TUNED.read_text())
    return found


def name_of(config: Config) -> str:
    """A model, by its sizes."""
    return f"{config.num_hidden_layers} layers of {config.hidden_size} and {config.intermediate_size}"


def as_one_kernel(config: Config, kind: str) -> dict[str, int] | None:
    """What the persistent kernel is compiled for on the GPU in use; None where it is not known to beat the chain of kernels."""
    return tuned().get(device.label(), {}).get(kind, {}).get(name_of(config))


def cut(rows: int, columns: int, kind: str, least_span: int = 1) -> Cut:
    """How to cut a matrix on the device in use: as measured there, or else as computed."""
    if device.name() == "cpu":
        from emulator.launch import worker_count

        span = max(2 if rows % 2 == 0 else 1, least_span)
        return make_cut(rows, columns, kind, worker_count(), warps=CPU_WARPS, span=span, depth=1)
    known = tuned().get(device.label(), {}).get(kind, {}).get(f"{rows} × {columns}")
    if known:
        grid, warps, span, depth = known
        return make_cut(rows, columns, kind, grid, warps=warps, span=span, depth=depth)
    return balanced(rows, columns, kind, multiprocessors(), least_span)


def multiprocessors() -> int:
    """Of the GPU in use."""
    import cupy

    return int(cupy.cuda.Device().attributes["MultiProcessorCount"])
