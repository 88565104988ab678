"""Day 7, RMSNorm: bytes per second beside the machine's copy bandwidth, a CuPy expression and PyTorch."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.record import spread
from benchmarks.timing import times_in_graph
from grader import budget, oracles
from grader.compare import Comparison, compare
from grader.curriculum import find
from grader.spec import DTYPES
from grader.worker import Lesson

ROWS = (1, 64, 4096, 65536)
HIDDEN = (576, 2048, 4096)
EPS = 1e-5
L2_SIZES_TO_OUTGROW = 4
MOST_BUFFERS = 64
ROWS_CHECKED = 256
COPIES_ALIVE = 6  # the CuPy expression's float32 temporaries, x and the result
PEERS_MAY_BE_OFF = 8.0  # budgets: ours rounds once, theirs may round after each step


def buffers_needed(nbytes: int, l2_bytes: int) -> int:
    """How many inputs (and as many outputs) of that size outgrow the L2 cache, within reason."""
    return max(1, min(MOST_BUFFERS, -(-L2_SIZES_TO_OUTGROW * l2_bytes // (2 * nbytes))))


def rows_to_check(rows: int, rng: np.random.Generator) -> np.ndarray:
    """Indices of the first row, the last and others in between: enough for the oracle on the host."""
    if rows <= ROWS_CHECKED:
        return np.arange(rows)
    between = 1 + rng.choice(rows - 2, ROWS_CHECKED - 2, replace=False)
    return np.concatenate([[0], np.sort(between), [rows - 1]])


def host_rows(array: Any, sample: np.ndarray) -> np.ndarray:
    """Some rows of a device array on the host; indexed as integers, which every dtype can be looked at as."""
    import cupy

    bits = array.view(f"u{array.dtype.itemsize}")[cupy.asarray(sample)].get()
    return np.asarray(bits).view(array.dtype)


def run(context: dict[str, Any]) -> dict[str, Any]:
    """Each shape and dtype: checked on fresh numbers, then timed in a graph over rotating buffers."""
    import cupy

    if "ceilings" not in context:
        raise RuntimeError("day07 compares with the machine's copy bandwidth: run the suite ceilings with it")
    lesson = Lesson(find("day07").solution).module
    rng = np.random.default_rng()
    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    shapes = []
    for dtype in ("bfloat16", "float32"):
        for hidden in HIDDEN:
            for rows in ROWS:
                shape = {"rows": rows, "hidden": hidden, "dtype": dtype}
                needed = COPIES_ALIVE * rows * hidden * 4
                if needed > properties["totalGlobalMem"]:
                    shape["not_run"] = (
                        f"{needed:,} bytes of memory are needed, the GPU has {properties['totalGlobalMem']:,}"
                    )
                else:
                    shape |= measure(lesson, rows, hidden, dtype, properties["l2CacheSize"], rng)
                    shape["share_of_copy"] = shape["bytes_per_s"] / context["ceilings"]["copy"]["bytes_per_s"]
                shapes.append(shape)
                cupy.get_default_memory_pool().free_all_blocks()  # torch has a pool of its own
    torch = importlib.metadata.version("torch") if importlib.util.find_spec("torch") else None
    return {"torch": torch, "eps": EPS, "threads": lesson.THREADS, "most_buffers": MOST_BUFFERS, "shapes": shapes}


def measure(lesson: Any, rows: int, hidden: int, dtype: str, l2_bytes: int, rng: np.random.Generator) -> dict[str, Any]:
    """One shape.

    Raises:
        AssertionError: an answer is wrong; nothing is timed then.
    """
    import cupy

    generator = cupy.random.default_rng(int(rng.integers(2**31)))
    kind = DTYPES[dtype]
    weight = (1 + 0.5 * generator.standard_normal(hidden, np.float32)).astype(kind)
    size = rows * hidden * kind.itemsize
    count = buffers_needed(size, l2_bytes)
    xs = [generator.standard_normal((rows, hidden), np.float32).astype(kind) for _ in range(count)]

    sample = rows_to_check(rows, rng)
    host_x, host_weight = host_rows(xs[0], sample), weight.get()
    expected, allowed = oracles.rmsnorm(host_x, host_weight, EPS), budget.rmsnorm(host_x, host_weight, EPS)

    def checked(who: str, answer: Any, times: float) -> Comparison:
        verdict = compare(answer, expected, kind, times * allowed)
        if not verdict.right:
            raise AssertionError(f"{rows} × {hidden} {dtype}, {who}: {verdict.problem}; not timed")
        return verdict

    moved = 2 * size + weight.nbytes

    def figures(times: dict[str, float]) -> dict[str, float]:
        return {**times, "bytes_per_s": moved / times["median_s"]}

    verdict = checked("the solution", host_rows(lesson.rmsnorm(xs[0], weight, EPS), sample), 1.0)
    ours = times_in_graph([functools.partial(lesson.rmsnorm, x, weight, EPS) for x in xs])
    out: dict[str, Any] = {"bytes": moved, "buffers": count, "share_of_budget": verdict.share, **figures(ours)}

    def peer(name: str, answer: Callable[[], np.ndarray], times: Callable[[], dict[str, float]]) -> None:
        """A peer that cannot be measured is NOT RUN; one that computes something else is no peer."""
        try:
            checked(name, answer(), PEERS_MAY_BE_OFF)
            out[name] = figures(times())
        except (RuntimeError, MemoryError) as error:  # CuPy's and torch's own errors derive from these
            first, *_ = str(error).splitlines() or [""]
            out[name] = {"not_run": f"{type(error).__name__}: {first}"}
            print(f"{rows} × {hidden} {dtype}: {name} NOT RUN: {error}")

    peer(
        "cupy",
        lambda: host_rows(cupy_expression(xs[0], weight), sample),
        lambda: times_in_graph([functools.partial(cupy_expression, x, weight) for x in xs]),
    )
    if importlib.util.find_spec("torch"):
        calls = torch_calls(xs, weight)
        peer("torch", lambda: torch_rows(calls[0](), sample, kind), lambda: times_in_torch_graph(calls))
    return out


def cupy_expression(x: Any, weight: Any) -> Any:
    """RMSNorm as one writes it with arrays: in float32, rounded at the end."""
    import cupy

    wide = x.astype(np.float32)
    scale = 1 / cupy.sqrt((wide * wide).mean(axis=1, keepdims=True) + np.float32(EPS))
    return (wide * scale * weight.astype(np.float32)).astype(x.dtype)


def torch_calls(xs: Sequence[Any], weight: Any) -> list[Callable[[], Any]]:
    """torch.nn.functional.rms_norm on the same memory."""
    import torch

    def tensor(array: Any) -> Any:
        if array.dtype.itemsize == 2:  # the array interface has no name for bfloat16
            return torch.as_tensor(array.view(np.uint16), device="cuda").view(torch.bfloat16)
        return torch.as_tensor(array, device="cuda")

    w, hidden = tensor(weight), weight.shape[0]
    return [functools.partial(torch.nn.functional.rms_norm, tensor(x), (hidden,), w, EPS) for x in xs]


def torch_rows(tensor: Any, sample: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Some rows of a torch tensor on the host."""
    import torch

    return tensor[torch.from_numpy(sample).cuda()].view(torch.uint8).cpu().numpy().view(dtype)


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
