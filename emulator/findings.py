"""What the checker found, as objects and as sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from emulator.errors import EmulatorError, Place

# In the order in which one can be the cause of the next: a barrier that not all threads reach shows as a race too, and
# a race as a read of what nobody wrote yet.
KINDS = (
    "barrier-divergence",
    "collective-divergence",
    "deadlock",
    "data-race",
    "out-of-bounds",
    "misaligned",
    "read-only-write",
    "uninitialised-shared-read",
    "uninitialised-output",
)


@dataclass(frozen=True)
class Finding:
    """One fault of a kernel.

    Attributes:
        kind: one of `KINDS`.
        array: name of the array in the source, or "" where it is not known.
        index: element, one number for each dimension where they are known; may lie outside the array.
        space: `shared`, `global` or `local`.
        place: line, block and thread of the access that was caught.
        action: what it did there: `read`, `write`, `atomic` or what it waited in.
        other, other_action: for a race or a divergence, the access or thread that it collided with (the earlier one).
        detail: figures that belong to the kind.
        order: the schedule it was found under: `forward`, `reverse` or `random N`.
    """

    kind: str
    array: str
    index: tuple[int, ...]
    space: str
    place: Place
    action: str
    other: Place | None = None
    other_action: str = ""
    detail: str = ""
    size: int = 0  # elements of the array, 0 where not known
    order: str = "forward"

    @property
    def line(self) -> int:
        """Line of the access that was caught."""
        return self.place.line

    @property
    def text(self) -> str:
        """That line."""
        return self.place.text

    @property
    def other_line(self) -> int:
        """Line of the other access, 0 where there is none."""
        return self.other.line if self.other else 0

    @property
    def other_text(self) -> str:
        """That line."""
        return self.other.text if self.other else ""

    @property
    def thread(self) -> tuple[int, int, int] | None:
        """ThreadIdx of the thread that was caught."""
        return self.place.thread

    @property
    def block(self) -> tuple[int, int, int] | None:
        """BlockIdx of the thread that was caught."""
        return self.place.block

    @property
    def element(self) -> str:
        """The element as source would write it: `tile[3][31]`."""
        return self.array + "".join(f"[{i}]" for i in self.index) if self.array else "memory"

    @property
    def message(self) -> str:
        """What happened, in a sentence without the lines."""
        where = f"{self.space} `{self.element}`"
        match self.kind:
            case "data-race":
                both = f"{self.other_action} and {self.action}"
                return f"data race on {where}: {both} with nothing between that orders them"
            case "out-of-bounds":
                if self.size and self.array:
                    return f"{self.action} outside {where}, which has {self.size:,} elements"
                return (
                    f"outside {self.space} `{self.array}`: {self.detail}"
                    if self.detail
                    else f"{self.action} outside every array"
                )
            case "misaligned":
                return f"{self.action} of {self.detail} at {where}, whose address is not a multiple of {self.detail}"
            case "read-only-write":
                return f"write to {where}, which the kernel takes as const"
            case "uninitialised-shared-read":
                return f"read of {where} before any thread of the block wrote it"
            case "uninitialised-output":
                return f"{where}: {self.detail}"
            case _:
                return f"{self.kind.replace('-', ' ')}: {self.detail}"

    @property
    def advice(self) -> str:
        """What to do about it."""
        match self.kind:
            case "data-race":
                return self._race_advice()
            case "out-of-bounds":
                return "check the index against the array's length before this access"
            case "misaligned":
                return (
                    "a vector access needs an address that is a multiple of its size: use scalar accesses for the rest"
                )
            case "read-only-write":
                return "write to an output array, or drop const from the parameter"
            case "uninitialised-shared-read":
                return "every thread that reads an element needs a write to it before, and a barrier between the two"
            case "uninitialised-output":
                return "some thread must write every element: look at the last block, the last row and the loop's end"
            case "barrier-divergence":
                return (
                    "every thread of the block must reach the same __syncthreads(): move it out of the branch, and let"
                    " no thread return before it"
                )
            case "collective-divergence":
                return (
                    "every lane that the mask names must call the same collective: move it out of the branch and let no"
                    " lane return before it, or narrow the mask"
                )
            case _:
                return "make sure that what it waits for happens before, or use a cooperative launch and grid.sync()"

    def _race_advice(self) -> str:
        assert self.other is not None
        mine, theirs = self.place, self.other
        if "atomic" in (self.action, self.other_action):
            return "make every access to it atomic, or put a barrier between the two"
        if mine.block != theirs.block:
            return "blocks run in any order: use an atomic, or a second kernel, or grid.sync() between the two"
        barrier = "__syncwarp()" if self.detail == "lanes of one warp" else "__syncthreads()"
        return f"put {barrier} between the two lines; in a loop, also between one round and the next"

    def __str__(self) -> str:
        places = [(self.other, self.other_action)] if self.other is not None else []
        places += [(self.place, self.action)] if self.place.line else []
        rows = [f"    {place}   {action}" for place, action in sorted(places, key=lambda p: p[0].line)]
        return "\n".join([self.message, *rows, f"    {self.advice}"])

    def key(self) -> tuple[object, ...]:
        """Equal for what is the same fault."""
        return (self.kind, self.array, self.place.line, self.other_line)


class CheckError(EmulatorError):
    """The checker found something.

    Attributes:
        findings: the cause first.
        schedules: under how many schedules the kernel ran.
    """

    def __init__(self, kernel: str, findings: Sequence[Finding], schedules: int) -> None:
        self.kernel, self.findings, self.schedules = kernel, list(findings), schedules
        more = f"\nand {len(self.findings) - 1} more" if len(self.findings) > 1 else ""
        super().__init__(f"{kernel}: {self.findings[0]}{more}")


def rank(findings: Sequence[Finding]) -> list[Finding]:
    """Each fault once, the cause before what follows from it."""
    unique: dict[tuple[object, ...], Finding] = {}
    # Between the same two lines, a race across warps needs the stronger barrier: that one is told.
    for finding in sorted(findings, key=lambda f: f.detail == "lanes of one warp"):
        unique.setdefault(finding.key(), finding)
    ordered = sorted(unique.values(), key=lambda f: KINDS.index(f.kind))
    raced = {f.array for f in ordered if f.kind == "data-race"}
    out = [f for f in ordered if not (f.kind == "uninitialised-shared-read" and f.array in raced)]
    if out and out[0].kind != "uninitialised-output":
        out = [f for f in out if f.kind != "uninitialised-output"]
    return out


def unravel(flat: int, shape: Sequence[int]) -> tuple[int, ...]:
    """Index in each dimension; a flat index outside the array stays one number."""
    if len(shape) < 2 or not 0 <= flat < math.prod(shape):
        return (flat,)
    out = []
    for extent in reversed(shape):
        out.append(flat % extent)
        flat //= extent
    return tuple(reversed(out))


def with_order(finding: Finding, order: str) -> Finding:
    """The same finding, noted under the schedule that showed it."""
    return replace(finding, order=order)
