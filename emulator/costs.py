"""What a kernel's accesses cost: counted, not timed, so the same on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from emulator.errors import Place


@dataclass(frozen=True)
class LineCost:
    """The accesses of one kind that one source line makes in a launch.

    Attributes:
        place: the line.
        space: `global` or `shared`.
        write: stores, or loads.
        bytes: of one lane's access.
        requests: instructions, counted once a warp.
        transactions: 32-byte sectors (global) or wavefronts (shared) that they need.
        ideal: the fewest that as many distinct bytes could need.
        lanes: lanes that took part, over all requests.
    """

    place: Place
    space: str
    write: bool
    bytes: int
    requests: int
    transactions: int
    ideal: int
    lanes: int

    @property
    def ratio(self) -> float:
        """Transactions over the fewest possible: 1 is perfect."""
        return self.transactions / self.ideal

    def __str__(self) -> str:
        unit = "sectors" if self.space == "global" else "wavefronts"
        action = "store" if self.write else "load"
        return (
            f"{self.place.file}:{self.place.line}  {self.space} {action} of {self.bytes} bytes: {self.requests:,}"
            f" requests, {self.transactions:,} {unit}, {self.ideal:,} at best"
        )


@dataclass(frozen=True)
class Costs:
    """The cost of one launch.

    Attributes:
        lines: by source line, in the order of the source.
        barriers: times a block met at __syncthreads.
        collectives: warp collectives (shuffles, votes, __syncwarp).
        threads: threads launched.
    """

    lines: Sequence[LineCost]
    barriers: int
    collectives: int
    threads: int

    def total(self, what: str, space: str, write: bool | None = None) -> int:
        """Sum of `requests`, `transactions`, `ideal` or `lanes` over the lines of a space."""
        return sum(getattr(c, what) for c in self.lines if c.space == space and write in (None, c.write))

    @property
    def global_bytes(self) -> int:
        """Bytes that cross to the caches: 32 for each sector."""
        return 32 * self.total("transactions", "global")

    @property
    def bank_conflicts(self) -> int:
        """Wavefronts of shared memory beyond the fewest possible."""
        return self.total("transactions", "shared") - self.total("ideal", "shared")

    @property
    def active_lanes(self) -> float:
        """Share of lanes that took part in the memory instructions: 1 where no warp diverged."""
        requests = sum(c.requests for c in self.lines)
        return sum(c.lanes for c in self.lines) / (32 * requests) if requests else 1.0
