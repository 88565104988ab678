"""Day 7, RMSNorm: bytes per second beside the machine's copy bandwidth and beside PyTorch."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from benchmarks.timing import times_in_graph
from grader import budget, oracles
from grader.compare import compare
from grader.curriculum import find
from grader.spec import DTYPES
from grader.worker import Lesson

SHAPES = [(1, 2048), (64, 2048), (4096, 576), (4096, 2048), (65536, 2048), (16384, 4096)]
EPS = 1e-5
L2_BYTES_TO_OUTGROW = 256 << 20


def run(context: dict[str, Any]) -> dict[str, Any]:
    """Each shape and dtype: checked on fresh numbers, then timed in a graph over rotating buffers."""
    import cupy

    lesson = Lesson(find("day07").solution).module
    copy_rate = context["ceilings"]["copy"]["bytes_per_s"]
    rng = np.random.default_rng()
    rows_out = []
    for name in ("bfloat16", "float32"):
        for rows, hidden in SHAPES:
            x = rng.standard_normal((rows, hidden), np.float32).astype(DTYPES[name])
            weight = (1 + 0.5 * rng.standard_normal(hidden, np.float32)).astype(DTYPES[name])
            sample = slice(0, 64)
            buffers = max(1, min(64, L2_BYTES_TO_OUTGROW // (2 * x.nbytes)))
            xs = [cupy.asarray(x) for _ in range(buffers)]
            w = cupy.asarray(weight)
            got = lesson.rmsnorm(xs[0], w, EPS)[sample].get()
            verdict = compare(got, oracles.rmsnorm(x[sample], weight, EPS), x.dtype, budget.rmsnorm(x, weight, EPS))
            if not verdict.right:
                raise AssertionError(f"{rows} × {hidden} {name} is wrong: {verdict.problem}; not timed")
            moved = 2 * x.nbytes + weight.nbytes
            times = times_in_graph([lambda a=a, w=w: lesson.rmsnorm(a, w, EPS) for a in xs])
            row = {
                "rows": rows, "hidden": hidden, "dtype": name, "bytes": moved, "share_of_budget": verdict.share,
                "bytes_per_s": moved / times["median_s"], "share_of_copy": moved / times["median_s"] / copy_rate, **times,
            }  # fmt: skip
            if importlib.util.find_spec("torch"):
                row["torch"] = _torch(xs, w, hidden, moved)
            rows_out.append(row)
    return {"eps": EPS, "threads": lesson.THREADS, "shapes": rows_out}


def _torch(xs: list[Any], w: Any, hidden: int, moved: int) -> dict[str, float]:
    """torch.nn.functional.rms_norm on the same buffers, in a CUDA graph of its own."""
    import torch

    from benchmarks.record import spread

    kind = torch.bfloat16 if w.dtype.itemsize == 2 else torch.float32
    tensors = [
        torch.as_tensor(x.view("u2" if w.dtype.itemsize == 2 else x.dtype), device="cuda").view(kind) for x in xs
    ]
    weight = torch.as_tensor(w.view("u2" if w.dtype.itemsize == 2 else w.dtype), device="cuda").view(kind)
    call = torch.nn.functional.rms_norm
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for t in tensors:
            call(t, (hidden,), weight, EPS)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for t in tensors:
            call(t, (hidden,), weight, EPS)
    times = []
    for _ in range(35):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) * 1e-3 / len(tensors))
    figures = spread(times[5:])
    return {**figures, "bytes_per_s": moved / figures["median_s"], "version": torch.__version__}
