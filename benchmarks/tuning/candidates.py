"""Which cuts of a kernel are worth a try, and in which order: time may not suffice for all."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.config import Config
from engine.fused.cutting import Cut, group, make_cut

WARPS = (4, 6, 8, 10, 12, 16)
SPANS = (1, 2, 4)  # what kernels/decode/row_stream.cuh adds up
DEPTHS = (1, 2, 3, 4, 6, 8, 12)
MULTIPLES = (1, 2)  # blocks of a multiprocessor
SPLITS = (1, 2, 4, 8, 16, 32)
STEPS = (1, 4, 8)  # of a graph
THREADS_OF_A_MULTIPROCESSOR = 2048
RESERVED_BYTES = 1 << 10  # of shared memory, that the system takes for each block
ENOUGH_BYTES = 40_000  # on their way to a multiprocessor keep its memory busy
# Of the persistent kernel; the first of each is its default.
IN_FLIGHT = (5, 4, 6, 8)  # tiles on their way while the workers multiply
IN_FLIGHT_WAITING = (2, 1, 3)  # and while they wait
LEAST_POSITIONS = (64, 32, 128)  # of a slice of attention
KERNELS = ("qkv", "output", "gate_up", "down", "head")


@dataclass(frozen=True)
class Matrix:
    """What one kernel goes over."""

    rows: int
    columns: int
    least_span: int


@dataclass(frozen=True)
class Machine:
    """What a GPU has.

    Attributes:
        processors: multiprocessors.
        shared_bytes: that one block can have, dynamic and static.
        shared_of_all: that the blocks of a multiprocessor have together.
    """

    processors: int
    shared_bytes: int
    shared_of_all: int


def matrices(config: Config) -> dict[str, Matrix]:
    """Of each kernel."""
    width = config.num_attention_heads * config.head_dim
    hidden, inner = config.hidden_size, config.intermediate_size
    return {
        "qkv": Matrix(width + 2 * config.num_key_value_heads * config.head_dim, hidden, 1),
        "output": Matrix(hidden, width, 1),
        "gate_up": Matrix(2 * inner, hidden, 2),
        "down": Matrix(hidden, inner, 1),
        "head": Matrix(config.vocab_size, hidden, 1),
    }


def cuts(matrix: Matrix, kind: str, machine: Machine, default: Cut) -> list[Cut]:
    """The default, then all that fit, the most promising first.

    Args:
        kind: of the weights.
    """
    found = dict.fromkeys(_fitting(matrix, kind, machine))
    found.pop(default, None)
    return [default, *sorted(found, key=lambda cut: -promise(cut, matrix, machine))]


def _fitting(matrix: Matrix, kind: str, machine: Machine) -> Iterator[Cut]:
    rows, columns = matrix.rows, matrix.columns
    _, groups = group(columns, kind)
    for multiple in MULTIPLES:
        for span in (span for span in SPANS if span >= matrix.least_span and rows % span == 0):
            for warps in WARPS:
                blocks = multiple * machine.processors
                rounds = -(-(rows // span) // (blocks * warps))
                for depth in (depth for depth in DEPTHS if depth <= groups * rounds):
                    cut = make_cut(rows, columns, kind, blocks, warps=warps, span=span, depth=depth)
                    if fits(cut, columns, machine):
                        yield cut


def fits(cut: Cut, columns: int, machine: Machine) -> bool:
    """Whether all of its blocks can run at once."""
    resident = -(-cut.grid // machine.processors)
    shared = 4 * columns + cut.ring_bytes + RESERVED_BYTES
    threads = resident * cut.warps * 32
    return shared <= machine.shared_bytes and resident * shared <= machine.shared_of_all and (
        threads <= THREADS_OF_A_MULTIPROCESSOR
    )  # fmt: skip


def promise(cut: Cut, matrix: Matrix, machine: Machine) -> float:
    """How busy it keeps the memory, 0 to 1: warps with work in the last round, and bytes on their way."""
    units = matrix.rows // cut.span
    rounds = -(-units // (cut.grid * cut.warps))
    resident = -(-cut.grid // machine.processors)
    warps = resident * machine.processors * cut.warps  # of all multiprocessors, those without a block too
    return units / (rounds * warps) * min(1.0, resident * cut.ring_bytes / ENOUGH_BYTES)


def persistent() -> list[dict[str, int]]:
    """What the persistent kernel may be compiled for: its defaults, tiles, warps, chains of sums, then slices of attention."""
    found: list[dict[str, int]] = [{}]
    pairs = list(itertools.product(IN_FLIGHT, IN_FLIGHT_WAITING))[1:]
    found += [{"IN_FLIGHT": most, "IN_FLIGHT_WAITING": least} for most, least in pairs]
    found += [{"SEGMENT_BYTES": 2048, "IN_FLIGHT": 3, "IN_FLIGHT_WAITING": 1}, {"SEGMENT_BYTES": 512}]
    found += [{"WARPS": 12}, {"CHAINS": 2}, {"CHAINS": 8}, {"UNROLL": 4}]
    found += [{"LEAST_POSITIONS": least} for least in LEAST_POSITIONS[1:]]
    return found


def key_of(name: str, cut: Cut) -> str:
    """A candidate's name."""
    return f"{name} {cut.grid} × {cut.warps} warps, {cut.span} rows, {cut.depth} deep"


def best(results: Sequence[Mapping[str, Any]], count: int) -> list[Mapping[str, Any]]:
    """The fastest of those that ran."""
    return sorted((one for one in results if "median_s" in one), key=lambda one: float(one["median_s"]))[:count]


def shares(stages: Sequence[tuple[str, float]], left: float) -> float:
    """Seconds of the first stage, of what is left for all: each has a weight."""
    return left * stages[0][1] / sum(weight for _, weight in stages)
