"""CuPy played by NumPy, for the suites of benchmarks: solutions run in the emulator, times are made up."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

from benchmarks import kernel_peers
from engine import device

TIME = {"median_s": 1e-6, "quartile1_s": 1e-6, "quartile3_s": 1e-6, "repeats": 30}
CEILINGS = {"ceilings": {"copy": {"bytes_per_s": 1e12}, "read": {"bytes_per_s": 2e12}}}
SAME_IN_NUMPY = (
    "arange", "asarray", "concatenate", "cos", "cumsum", "exp", "matmul", "sin", "sort", "sqrt", "take_along_axis", "where",
)  # fmt: skip


class Generator:
    """CuPy's random numbers, as far as the suites ask for them."""

    def __init__(self, seed: int):
        self.rng = np.random.default_rng(seed)

    def standard_normal(self, size: int | tuple[int, ...], dtype: type) -> np.ndarray:
        return self.rng.standard_normal(size, dtype)


def play_cupy(patch: pytest.MonkeyPatch) -> list[int]:
    """A GPU of 1 GiB, its L2 cache of 1 MiB, without PyTorch beside it.

    Returns:
        How many calls each of those had that were timed; it grows with them.
    """
    properties = {"totalGlobalMem": 1 << 30, "l2CacheSize": 1 << 20}
    rng = np.random.default_rng(0)
    fake = types.ModuleType("cupy")
    fake.__dict__.update({name: getattr(np, name) for name in SAME_IN_NUMPY})
    fake.random = types.SimpleNamespace(default_rng=Generator, gumbel=lambda size: rng.gumbel(size=size))
    fake.get_default_memory_pool = lambda: types.SimpleNamespace(free_all_blocks=lambda: None)
    fake.cuda = types.SimpleNamespace(
        Device=lambda: types.SimpleNamespace(id=0),
        runtime=types.SimpleNamespace(getDeviceProperties=lambda _id: properties),
    )
    timed: list[int] = []

    def times_in_graph(calls: list) -> dict[str, float]:
        timed.append(len(calls))
        return TIME

    patch.setitem(sys.modules, "cupy", fake)
    patch.setattr(kernel_peers, "has_torch", lambda: False)
    patch.setattr(kernel_peers, "times_in_graph", times_in_graph)
    patch.setattr(device, "_choice", "cpu")
    return timed
