"""A kernel beside its peers, a CuPy expression and PyTorch: the same arrays, in the same run.

Whoever is timed answers first, on fresh numbers, and the answer is compared with the oracle's. Calls are timed inside a CUDA
graph, over buffers that together outgrow the L2 cache.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.timing import times_in_graph
from engine import device
from engine.timing import spread, times_of
from grader.channel import dtype_named
from grader.compare import Comparison, compare
from grader.spec import Allowed

L2_SIZES_TO_OUTGROW = 4
MOST_BUFFERS = 64
ROWS_CHECKED = 256
PEERS_MAY_BE_OFF = 8.0  # budgets: ours rounds once, theirs may round after each step

Figures = dict[str, Any]
Check = Callable[[np.ndarray, float], Comparison]
Times = Callable[[Sequence[Callable[[], Any]]], dict[str, float]]


def buffers_needed(moved: int, l2_bytes: int) -> int:
    """How many calls that move so many bytes outgrow the L2 cache together, within reason."""
    return max(1, min(MOST_BUFFERS, -(-L2_SIZES_TO_OUTGROW * l2_bytes // moved)))


def rows_to_check(rows: int, rng: np.random.Generator) -> np.ndarray:
    """Indices of the first row, the last and others in between: enough for the oracle on the host."""
    if rows <= ROWS_CHECKED:
        return np.arange(rows)
    between = 1 + rng.choice(rows - 2, ROWS_CHECKED - 2, replace=False)
    return np.concatenate([[0], np.sort(between), [rows - 1]])


def host_rows(array: Any, sample: np.ndarray) -> np.ndarray:
    """Some rows of a device array on the host; indexed as integers, which every dtype can be looked at as."""
    import cupy

    bits = device.to_host(array.view(f"u{array.dtype.itemsize}")[cupy.asarray(sample)])
    return np.asarray(bits).view(array.dtype)


@dataclass(frozen=True)
class Contender:
    """Who is timed.

    Attributes:
        calls: the same work, once on each set of buffers.
        on_host: what is compared, from what a call returned.
        times: median and quartiles of one of the calls, in seconds.
    """

    calls: Sequence[Callable[[], Any]]
    on_host: Callable[[Any], np.ndarray]
    times: Times


def on_cupy(
    call: Callable[..., Any], buffers: Sequence[Sequence[Any]], sample: np.ndarray, times: Times | None = None
) -> Contender:
    """A function of CuPy arrays, ours or CuPy's; its answer is compared in these rows. Timed in a graph, or by `times`."""
    calls = [functools.partial(call, *arrays) for arrays in buffers]
    return Contender(calls, lambda out: host_rows(out, sample), times or times_in_graph)


def times_in_graph_or_turn(calls: Sequence[Callable[[], Any]]) -> dict[str, float]:
    """In a graph; for what calls cuBLAS through CuPy, which cannot capture that, one call at a time.

    Each of these is queued while the GPU is held busy, so launches cost nothing there either.
    """
    try:
        return times_in_graph(calls)
    except RuntimeError as error:
        if "cuBLAS API during stream capture" not in str(error):
            raise
    turn = itertools.cycle(calls)
    return times_of(lambda: next(turn)())


def on_torch(call: Callable[..., Any], buffers: Sequence[Sequence[Any]], sample: np.ndarray) -> Contender:
    """A function of torch tensors, on the memory of CuPy arrays."""
    calls = [functools.partial(call, *map(torch_tensor, arrays)) for arrays in buffers]
    return Contender(calls, lambda out: torch_rows(out, sample), times_in_torch_graph)


def within(expected: np.ndarray, dtype: np.dtype, allowed: Allowed) -> Check:
    """Compares an answer with the oracle's, ours and the peers' each within their number of budgets."""

    def check(answer: np.ndarray, budgets: float) -> Comparison:
        return compare(answer, expected, dtype, Allowed(budgets * allowed.relative, budgets * allowed.absolute))

    return check


def beside(
    label: str, moved: int, ours: Contender, peers: Mapping[str, Callable[[], Contender]], check: Check
) -> Figures:
    """Figures of our kernel, and of each peer under its name.

    Args:
        label: of the shape, for messages.
        moved: the least bytes that a call moves.
        peers: each is made when its turn comes. One that cannot be made or run is NOT RUN.
        check: an answer, and how many budgets it may be off.

    Raises:
        AssertionError: an answer is wrong, a peer's too: it would be no peer. Nothing is timed then.
    """

    def checked(who: str, contender: Contender, budgets: float) -> float:
        verdict = check(contender.on_host(contender.calls[0]()), budgets)
        if not verdict.right:
            raise AssertionError(f"{label}, {who}: {verdict.problem}; not timed")
        return verdict.share

    def figures(contender: Contender) -> Figures:
        times = contender.times(contender.calls)
        return {**times, "bytes_per_s": moved / times["median_s"]}

    share = checked("the solution", ours, 1.0)
    out: Figures = {"bytes": moved, "buffers": len(ours.calls), "share_of_budget": share, **figures(ours)}
    for name, make in peers.items():
        try:
            peer = make()
            checked(name, peer, PEERS_MAY_BE_OFF)
            out[name] = figures(peer)
        except (RuntimeError, MemoryError) as error:  # CuPy's and torch's own errors derive from these
            first, *_ = str(error).splitlines() or [""]
            out[name] = {"not_run": f"{type(error).__name__}: {first}"}
            print(f"{label}: {name} NOT RUN: {error}")
    return out


def functions_beside(
    label: str,
    moved: int,
    buffers: Sequence[Sequence[Any]],
    sample: np.ndarray,
    functions: Mapping[str, Callable[..., Any]],
    check: Check,
) -> Figures:
    """`beside`, for functions of a set of buffers of which the result is compared in some rows.

    Args:
        functions: by name: `ours` and `cupy`, of CuPy arrays, and `torch`, of tensors, left out where it is not installed.
    """
    peers: dict[str, Callable[[], Contender]] = {
        "cupy": lambda: on_cupy(functions["cupy"], buffers, sample, times_in_graph_or_turn)
    }
    if has_torch():
        peers["torch"] = lambda: on_torch(functions["torch"], buffers, sample)
    return beside(label, moved, on_cupy(functions["ours"], buffers, sample), peers, check)


def measured(
    context: Mapping[str, Any],
    ceiling: str,
    shapes: Iterable[Figures],
    memory_needed: Callable[..., int],
    measure: Callable[..., Figures],
) -> list[Figures]:
    """Each shape with its figures, or with why it was not run.

    Args:
        context: figures of the suites that ran before; `ceilings` is one of them.
        ceiling: the bandwidth to compare with, `read` or `copy`.
        shapes: what distinguishes one from the other, by name.
        memory_needed: bytes on the GPU, from a shape's values.
        measure: figures, from a shape's values, `l2_bytes` and `rng`.

    Raises:
        RuntimeError: the ceilings were not measured in this run.
    """
    import cupy

    if "ceilings" not in context:
        raise RuntimeError(
            f"these figures stand beside the machine's {ceiling} bandwidth: run the suite ceilings with it"
        )
    rng = np.random.default_rng()
    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    out = []
    for shape in shapes:
        needed = memory_needed(**shape)
        if needed > properties["totalGlobalMem"]:
            has = f"the GPU has {properties['totalGlobalMem']:,}"
            out.append({**shape, "not_run": f"{needed:,} bytes of memory are needed, {has}"})
            continue
        figures = measure(**shape, l2_bytes=properties["l2CacheSize"], rng=rng)
        share = figures["bytes_per_s"] / context["ceilings"][ceiling]["bytes_per_s"]
        out.append({**shape, **figures, f"share_of_{ceiling}": share})
        cupy.get_default_memory_pool().free_all_blocks()  # torch has a pool of its own
    return out


def random_numbers(rng: np.random.Generator) -> Any:
    """A generator on the GPU, seeded by one on the host."""
    import cupy

    return cupy.random.default_rng(int(rng.integers(2**31)))


# ---- torch -----------------------------------------------------------------------------------------------------------


def has_torch() -> bool:
    """Whether torch is installed."""
    return importlib.util.find_spec("torch") is not None


def torch_version() -> str | None:
    """For the record."""
    return importlib.metadata.version("torch") if has_torch() else None


def torch_tensor(array: Any) -> Any:
    """A CuPy array as a torch tensor on the same memory."""
    import torch

    if array.dtype.itemsize == 2:  # the array interface has no name for bfloat16
        return torch.as_tensor(array.view(np.uint16), device="cuda").view(torch.bfloat16)
    return torch.as_tensor(array, device="cuda")


def torch_rows(out: Any, sample: np.ndarray) -> np.ndarray:
    """Some rows of a torch tensor on the host."""
    import torch

    dtype = dtype_named(str(out.dtype).removeprefix("torch."))
    return out[torch.from_numpy(sample).cuda()].view(torch.uint8).cpu().numpy().view(dtype)


def times_in_torch_graph(calls: Sequence[Callable[[], Any]], repeats: int = 30) -> dict[str, float]:
    """What `times_in_graph` measures, by torch's own graphs, memory and events."""
    import torch

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for call in calls:
            call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kept = [call() for call in calls]
    times = []
    for _ in range(5 + repeats):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) * 1e-3 / len(calls))
    del kept
    return spread(times[5:])
