"""Checked launches: on copies with red zones around them, under several schedules, with every access looked at."""

from __future__ import annotations

import ctypes
import mmap
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from emulator import arguments
from emulator.costs import Costs, LineCost
from emulator.errors import EmulatorError, Place
from emulator.findings import KINDS, CheckError, Finding, rank, unravel, with_order
from emulator.launch import FAILURES, LaunchRequest, runtime

if TYPE_CHECKING:
    from emulator.module import RawKernel, RawModule

RED_ZONE = 4096  # least bytes between two arrays


@dataclass(frozen=True)
class Checks:
    """How to check.

    Attributes:
        schedules: runs under different orders of warps and lanes: forward, reverse, then seeded random ones.
        seed: of the random ones.
        outputs: names of array parameters of which every element must be written; they start poisoned. `kernel:name` is a
            parameter of that kernel, `name` one of every kernel.
        costs: count what each line's accesses cost; after a launch, `kernel.costs` has the counts.
        report: called with the kernel's name and its costs after each launch that counts them.

    Raises:
        EmulatorError: fewer than one schedule.
    """

    schedules: int = 4
    seed: int = 0
    outputs: tuple[str, ...] = ()
    costs: bool = False
    report: Callable[[str, Costs], None] | None = None

    def __post_init__(self) -> None:
        if self.schedules < 1:
            raise EmulatorError(f"Checks(schedules={self.schedules}): expected at least 1")

    def outputs_of(self, kernel: str) -> list[str]:
        """Those of `outputs` that concern a kernel, as its parameters are called."""
        parts = [name.rpartition(":") for name in self.outputs]
        return [parameter for of, _, parameter in parts if of in ("", kernel)]

    def orders(self) -> list[tuple[int, str]]:
        """Number and name of each schedule; see `Request::order` in runtime/src/runtime.h."""
        named = [(0, "forward"), (1, "reverse")]
        named += [(2 + (self.seed * 7919 + i) % (2**30), f"random {self.seed}.{i}") for i in range(self.schedules)]
        return named[: self.schedules]


class _Array(ctypes.Structure):
    """`emu::check::ArrayRequest`."""

    _fields_ = (
        ("address", ctypes.c_uint64),
        ("bytes", ctypes.c_uint64),
        ("element", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("name", ctypes.c_char * 64),
    )


class _Check(ctypes.Structure):
    """`emu::check::CheckRequest`."""

    _fields_ = (
        ("arrays", ctypes.c_void_p),
        ("array_count", ctypes.c_uint64),
        ("module_low", ctypes.c_uint64),
        ("module_high", ctypes.c_uint64),
        ("dynamic_address", ctypes.c_uint64),
        ("dynamic_bytes", ctypes.c_uint64),
        ("dynamic_element", ctypes.c_uint32),
        ("costs", ctypes.c_uint32),
        ("dynamic_name", ctypes.c_char * 64),
    )


class _Finding(ctypes.Structure):
    """`emu::check::Finding`."""

    _fields_ = (
        ("kind", ctypes.c_int32),
        ("space", ctypes.c_int32),
        ("name", ctypes.c_char * 64),
        ("offset", ctypes.c_int64),
        ("bytes", ctypes.c_uint64),
        ("element", ctypes.c_uint32),
        ("access", ctypes.c_uint32),
        ("extents", ctypes.c_int32 * 8),
        ("writes", ctypes.c_int32 * 2),
        ("atomics", ctypes.c_int32 * 2),
        ("pc", ctypes.c_uint64 * 2),
        ("line", ctypes.c_int32 * 2),
        ("block", (ctypes.c_uint32 * 3) * 2),
        ("thread", (ctypes.c_uint32 * 3) * 2),
        ("detail", ctypes.c_char * 256),
    )


class _Site(ctypes.Structure):
    """`emu::check::SiteCost`."""

    _fields_ = (
        ("pc", ctypes.c_uint64),
        ("shared", ctypes.c_uint32),
        ("write", ctypes.c_uint32),
        ("bytes", ctypes.c_uint32),
        ("pad", ctypes.c_uint32),
        ("requests", ctypes.c_uint64),
        ("transactions", ctypes.c_uint64),
        ("ideal", ctypes.c_uint64),
        ("lanes", ctypes.c_uint64),
    )


class Arena:
    """Copies of the arguments' arrays, far enough apart that a stray access meets no other array.

    Arrays that overlap in memory overlap in the copy too. Each keeps the alignment that its offset from the start of
    its allocation would give it on a GPU, whose allocations are 256-byte aligned.
    """

    def __init__(self, arrays: Sequence[np.ndarray]) -> None:
        spans = sorted({(_address(a), a.nbytes, _offset_in_base(a)) for a in arrays if a.nbytes})
        clusters: list[list[int]] = []  # start, end, offset in its allocation
        for start, size, offset in spans:
            if clusters and start < clusters[-1][1]:
                clusters[-1][1] = max(clusters[-1][1], start + size)
            else:
                clusters.append([start, start + size, offset])
        self.clusters: list[tuple[int, int, int]] = []  # host start, bytes, offset in the arena
        place = 0
        for start, end, offset in clusters:
            gap = min(max(RED_ZONE, end - start), 1 << 20)
            place = -(-(place + gap) // 256) * 256 + offset % 256
            self.clusters.append((start, end - start, place))
            place += end - start
        # Mapped, not allocated: memory of the checker's is none of the caller's, should somebody count that (tracemalloc).
        self._memory = np.frombuffer(mmap.mmap(-1, place + (1 << 16) + 512), np.uint8)
        self._base = -(-_address(self._memory) // 256) * 256
        self._spare = self._base + place + RED_ZONE  # where an empty array points: inside no array

    def address(self, array: np.ndarray) -> int:
        """Where the copy of an array lies."""
        start = _address(array)
        for host, size, place in self.clusters:
            if array.nbytes and host <= start < host + size:
                return self._base + place + start - host
        return self._spare

    def fill(self) -> None:
        """Copy from the host."""
        for host, size, place in self.clusters:
            ctypes.memmove(self._base + place, host, size)

    def give_back(self, arrays: Sequence[np.ndarray]) -> None:
        """Copy these arrays back to the host."""
        for array in arrays:
            if array.nbytes:
                ctypes.memmove(_address(array), self.address(array), array.nbytes)


def _address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def _offset_in_base(array: np.ndarray) -> int:
    base = array
    while isinstance(base.base, np.ndarray):
        base = base.base
    return _address(array) - _address(base)


def launch(kernel: RawKernel, request: LaunchRequest, args: Sequence[Any], checks: Checks) -> None:
    """Run a prepared launch under the checker.

    Raises:
        CheckError: something was found; the argument arrays are as they were before.
        KernelCrash: the kernel trapped, divided by zero or ran out of time.
        EmulatorError: `Checks.outputs` names no array parameter.
    """
    packer = kernel._packer
    packer.pack(args)  # refuses what does not fit, before anything is copied
    pairs = [(p, a) for p, a in zip(kernel.parameters, args, strict=True) if p.pointer and isinstance(a, np.ndarray)]
    outputs = checks.outputs_of(kernel.name)
    for name in outputs:
        if name not in {p.name for p, _ in pairs}:
            raise EmulatorError(f"{kernel.name}: Checks(outputs=…) names {name!r}, which is no array parameter of it")
    arena = Arena([a for _, a in pairs])
    written = [a for p, a in pairs if not p.constant]
    moved = [
        _Moved(arena.address(a)) if isinstance(a, np.ndarray) and p.pointer else a
        for p, a in zip(kernel.parameters, args, strict=True)
    ]
    arrays = _array_requests(pairs, arena, outputs)
    check = _check_request(kernel, arrays, request.shared_bytes, checks)
    request.args = packer.pack_addresses(moved)
    request.checked, request.workers = 1, 1
    found: list[Finding] = []
    ran = 0
    kernel.costs = None
    for number, name in checks.orders():
        arena.fill()
        for entry in arrays:
            if entry.flags & 2:
                ctypes.memset(entry.address, 0xFF, entry.bytes)  # NaN, or -1
        check.costs = int(checks.costs and number == 0)
        runtime().emu_check_begin(ctypes.byref(check))
        request.order = number
        failed = runtime().emu_launch(ctypes.byref(request))
        ran += 1
        found += [with_order(f, name) for f in _findings(kernel.module, dict_of_shapes(pairs))]
        if failed:
            failure = runtime().emu_failure().contents
            kind = FAILURES[failure.kind]
            if kind in ("barrier-divergence", "collective-divergence"):
                place = kernel.module.place(failure)
                found.append(Finding(kind, "", (), "local", place, "wait", detail=failure.message.decode(), order=name))
            elif kind != "check-finding" and not found:
                kernel._raise(failure)
        if check.costs and not failed:
            kernel.costs = _costs(kernel.module, request)
    if found:
        raise CheckError(kernel.name, rank(found), ran)
    arena.give_back(written)
    if checks.report is not None and kernel.costs is not None:
        checks.report(kernel.name, kernel.costs)


class _Moved:
    """An argument that is an address already."""

    def __init__(self, address: int) -> None:
        self.address = address


def dict_of_shapes(pairs: Sequence[tuple[arguments.Parameter, np.ndarray]]) -> dict[str, tuple[int, ...]]:
    """Shape of the host array behind each parameter."""
    return {p.name: a.shape for p, a in pairs}


def _array_requests(
    pairs: Sequence[tuple[arguments.Parameter, np.ndarray]], arena: Arena, outputs: Sequence[str]
) -> Any:
    writable = [(_address(a), _address(a) + a.nbytes) for p, a in pairs if not p.constant]

    def aliased(array: np.ndarray) -> bool:  # in place: also reachable through a pointer that may write
        start, end = _address(array), _address(array) + array.nbytes
        return any(low < end and start < high for low, high in writable)

    filled = [(p, a) for p, a in pairs if a.nbytes]
    out = (_Array * max(1, len(filled)))()
    for entry, (p, a) in zip(out, filled, strict=False):
        entry.address, entry.bytes, entry.element = arena.address(a), a.nbytes, a.itemsize
        entry.flags = (1 if p.constant and not aliased(a) else 0) | (2 if p.name in outputs else 0)
        entry.name = (p.name or "argument").encode()[:63]
    return out


def _check_request(kernel: RawKernel, arrays: Any, shared_bytes: int, checks: Checks) -> _Check:
    module = kernel.module
    low, high = module.address_range
    check = _Check(
        arrays=ctypes.addressof(arrays),
        array_count=sum(1 for a in arrays if a.bytes),
        module_low=low,
        module_high=high,
        costs=int(checks.costs),
    )
    if module.dynamic_shared:
        module.library.emu_dynamic_address.restype = ctypes.c_void_p
        check.dynamic_address = module.library.emu_dynamic_address()
        check.dynamic_element = 4
        check.dynamic_name = module.dynamic_shared[0].encode()[:63]
    check.dynamic_bytes = shared_bytes
    check._keep = arrays
    return check


def _place(module: RawModule, raw: _Finding, which: int) -> Place:
    file, line, callers = module.name, raw.line[which], []
    if raw.pc[which]:
        frames = module.own_frames(raw.pc[which])
        if frames:
            file, line = frames[0]
            callers = [f"{f}:{n}" for f, n in frames[1:]]
    return Place(
        file,
        line,
        module.text_of(file, line),
        tuple(raw.block[which]),
        tuple(raw.thread[which]),
        tuple(callers),
    )


def _findings(module: RawModule, shapes: dict[str, tuple[int, ...]]) -> list[Finding]:
    pointer = ctypes.POINTER(_Finding)()
    count = runtime().emu_check_findings(ctypes.byref(pointer))
    return [_finding(module, pointer[i], shapes) for i in range(count)]


def _finding(module: RawModule, raw: _Finding, shapes: dict[str, tuple[int, ...]]) -> Finding:
    kind = KINDS[raw.kind]
    space = ("global", "shared", "local")[raw.space]
    name, detail = raw.name.decode(), raw.detail.decode(errors="replace")
    place = _place(module, raw, 0)
    element = raw.element or 1
    shape: Sequence[int] = [n for n in raw.extents if n] or shapes.get(name, ())
    index: tuple[int, ...] = unravel(raw.offset // element, shape) if name else ()
    if name and not shape and raw.bytes == element:
        index = ()  # a scalar
    has_other = raw.kind in (0, 1, 3) and (raw.pc[1] or raw.line[1] or any(raw.thread[1]))
    size = raw.bytes // element
    if kind == "out-of-bounds" and not name and detail:  # the index ran over one dimension of an array
        name, index, size = _array_indexed(place.text, raw.extents[0]), (raw.offset,), 0
        space = "shared" if name in module.shared_names else "local"
        detail = f"index {raw.offset} into a dimension of type {detail}"
    if kind == "misaligned":
        detail = f"{raw.access} bytes"
    return Finding(
        kind=kind,
        array=name,
        index=index,
        space=space,
        place=place,
        action=_action(kind, raw, 0),
        other=_place(module, raw, 1) if has_other else None,
        other_action=_action(kind, raw, 1),
        detail=detail,
        size=size,
    )


def _action(kind: str, raw: _Finding, which: int) -> str:
    if kind in ("barrier-divergence", "collective-divergence", "deadlock"):
        return "waits" if which == 0 or raw.pc[1] or raw.line[1] else "ended"
    return "atomic" if raw.atomics[which] else "write" if raw.writes[which] else "read"


def _array_indexed(text: str, column: int) -> str:
    """The array whose index is out of range: GCC points at the index's closing bracket, clang at the array."""
    if text[column - 1 : column] == "]":
        before = re.search(r"(\w+)\s*(?:\[[^\[\]]*\]\s*)*\[[^\[\]]*$", text[: column - 1])
        return before[1] if before else ""
    here = re.match(r"\w+", text[column - 1 :])
    return here[0] if here else ""


_sites = (_Site * 4096)()  # one for all launches: whoever measures a caller's memory does not find it there


def _costs(module: RawModule, request: LaunchRequest) -> Costs:
    barriers, collectives = ctypes.c_uint64(), ctypes.c_uint64()
    room = len(_sites)
    count = runtime().emu_check_costs(_sites, room, ctypes.byref(barriers), ctypes.byref(collectives))
    merged: dict[tuple[str, int, bool, bool, int], list[int]] = {}
    for site in _sites[: min(count, room)]:
        frames = module.own_frames(site.pc) or [(module.name, 0)]
        key = (*frames[0], bool(site.shared), bool(site.write), site.bytes)
        sums = merged.setdefault(key, [0, 0, 0, 0])
        for i, value in enumerate((site.requests, site.transactions, site.ideal, site.lanes)):
            sums[i] += value
    out = [
        LineCost(
            Place(file, line, module.text_of(file, line)),
            "shared" if shared else "global",
            write,
            size,
            *sums,
        )
        for (file, line, shared, write, size), sums in sorted(merged.items())
    ]
    blocks = request.grid[0] * request.grid[1] * request.grid[2]
    threads = blocks * request.block[0] * request.block[1] * request.block[2]
    return Costs(out, barriers.value, collectives.value, threads)
