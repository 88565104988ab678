"""How fast the emulator is: launches, barriers, shuffles, and kernels of the course's shapes.

    python benchmarks/emulator.py

writes results/cpu/emulator.json. Every kernel's result is compared with NumPy before it is timed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

import emulator  # noqa: E402
from benchmarks import record  # noqa: E402
from engine import timing  # noqa: E402
from engine.machine import host  # noqa: E402

# SmolLM2-135M: rows and columns of each matrix that one token passes through, and how often.
TOKEN = [(576, 576, 60), (192, 576, 60), (1536, 576, 60), (576, 1536, 30), (49152, 576, 1)]


def measure(call: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Median and quartiles of single calls, in seconds."""
    call()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return timing.spread(times)


def main() -> int:
    """Measure everything."""
    rng = np.random.default_rng()
    module = emulator.RawModule(path=str(Path(__file__).with_name("emulator_kernels.cu")))
    rows: list[dict[str, Any]] = []

    def add(what: str, call: Callable[[], Any], repeats: int, scale: float, unit: str, digits: int = 1) -> float:
        figures = measure(call, repeats)
        shown = figures["median_s"] * scale
        rows.append({"what": what, "figure": f"{shown:.{digits}f} {unit}", **figures})
        print(f"{what:<58} {shown:>10.{digits}f} {unit}")
        return figures["median_s"]

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, np.float32)

    touch, barriers, shuffles = (module.get_function(n) for n in ("touch", "barriers", "shuffles"))
    out = np.zeros(1 << 20, np.float32)
    add("launch of 32 threads", lambda: touch((1,), (32,), (out,)), 500, 1e6, "µs")
    add("element-wise, a thread (2²⁰ threads)", lambda: touch((4096,), (256,), (out,)), 30, 1e9 / 2**20, "ns", 2)
    add("barrier, a thread", lambda: barriers((1,), (256,), (np.int32(1000),)), 50, 1e9 / 256e3, "ns", 2)
    add("shuffle, a lane", lambda: shuffles((1,), (32,), (out, np.int32(1000))), 50, 1e9 / 32e3, "ns", 2)

    matvec = module.get_function("matvec")

    def make_matvec(height: int, width: int) -> Callable[[], None]:
        weights, x, y = normal(height, width).astype(ml_dtypes.bfloat16), normal(width), np.empty(height, np.float32)
        args = (weights, x, y, np.int32(height), np.int32(width))

        def call() -> None:
            matvec((-(-height // 32),), (256,), args)

        call()
        np.testing.assert_allclose(y, weights.astype(np.float64) @ x, rtol=1e-3, atol=1e-3 * width**0.5)
        return call

    seconds = add("matrix × vector, 2,048 × 8,192 bfloat16", make_matvec(2048, 8192), 30, 1e3, "ms", 2)
    rows[-1]["figure"] += f", {2048 * 8192 / seconds / 1e9:.1f} billion multiply-adds a second"
    calls = [(make_matvec(h, w), n) for h, w, n in TOKEN]

    def token() -> None:
        for call, times in calls:
            for _ in range(times):
                call()

    add("all matrices of SmolLM2-135M, one token", token, 10, 1.0, "s", 3)

    a, b, c = normal(256, 256), normal(256, 256), np.empty((256, 256), np.float32)
    matmul = module.get_function("matmul")
    run_matmul = lambda: matmul((8, 8), (32, 32), (a, b, c, np.int32(256)))  # noqa: E731
    run_matmul()
    np.testing.assert_allclose(c, a @ b, rtol=1e-3, atol=1e-3)
    add("tiled matrix product, 256³", run_matmul, 30, 1e3, "ms", 2)

    heads, length = 9, 256
    q, k, v = (normal(heads, length, 64) for _ in range(3))
    o = np.empty_like(q)
    attention = module.get_function("attention")
    run_attention = lambda: attention((length // 32, heads), (128,), (q, k, v, o, np.int32(length)))  # noqa: E731
    run_attention()
    scores = np.einsum("htd,hsd->hts", q, k) / 8 + np.triu(np.full((length, length), -np.inf, np.float32), 1)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    np.testing.assert_allclose(o, weights / weights.sum(-1, keepdims=True) @ v, rtol=1e-3, atol=1e-4)
    add("flash attention, 9 heads, 256 × 64", run_attention, 20, 1e3, "ms", 2)

    checked = emulator.RawModule(
        path=str(REPOSITORY / "kernels" / "rmsnorm.cu"), check=emulator.Checks(outputs=("out",))
    )
    x, w = normal(3, 1000), normal(1000)
    y = np.empty_like(x)
    rmsnorm = checked.get_function("rmsnorm")
    args = (x, w, y, np.int32(1000), np.float32(1e-5))
    add("checked: day 7 on 3 × 1,000, four schedules", lambda: rmsnorm((3,), (256,), args), 20, 1e3, "ms")
    path = record.write(REPOSITORY / "results" / "cpu", "emulator", host(), {"rows": rows})
    print(path.relative_to(REPOSITORY))
    return 0


if __name__ == "__main__":
    sys.exit(main())
