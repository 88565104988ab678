"""What the machine's ceilings are measured by: NumPy plays CuPy, the kernels run in the emulator, times are made up."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

from engine import ceilings, cublas

TIME = {"median_s": 1e-3, "quartile1_s": 1e-3, "quartile3_s": 1e-3, "repeats": 20}
MEMORY = 1 << 20


class Device:
    id = 0
    attributes = types.MappingProxyType({"MultiProcessorCount": 3})


@pytest.fixture(autouse=True)
def numpy_as_cupy(on_cpu):
    fake = types.ModuleType("cupy")
    fake.__dict__.update({name: getattr(np, name) for name in ("empty", "empty_like", "float32", "uint32", "uint64")})
    fake.zeros, fake.random = np.zeros, types.SimpleNamespace(default_rng=np.random.default_rng)
    runtime = types.SimpleNamespace(getDeviceProperties=lambda _id: {"totalGlobalMem": MEMORY})
    fake.cuda = types.SimpleNamespace(Device=Device, runtime=runtime)
    on_cpu.setitem(sys.modules, "cupy", fake)
    on_cpu.setattr(ceilings, "SIDE", 128)
    on_cpu.setattr(cublas, "product_into", multiply)
    on_cpu.setattr(ceilings, "hold_gpu", lambda _milliseconds: None)
    return on_cpu


def multiply(x, weight, out):
    out[:] = x.astype(np.float32) @ weight.astype(np.float32).T


def test_the_best_launch_shape_counts(numpy_as_cupy):
    took = {(blocks, threads): 1.0 for blocks in ceilings.BLOCKS for threads in ceilings.THREADS} | {(8, 512): 0.5}

    def times_of(call, repeats):
        call()
        if not hasattr(call, "args"):
            return {**TIME, "repeats": repeats}
        (blocks,), (threads,), _ = call.args
        return {**TIME, "median_s": took[blocks // 3, threads], "repeats": repeats}

    numpy_as_cupy.setattr(ceilings, "times_of", times_of)
    found = ceilings.measure()
    size = MEMORY // 8
    assert found["bytes"] == size
    assert found["read"]["bytes_per_s"] == size / 0.5
    assert found["copy"]["bytes_per_s"] == 2 * size / 0.5
    assert (found["read"]["blocks"], found["copy"]["threads"]) == (24, 512)
    assert found["product"]["operations_per_s"] == pytest.approx(2 * 128**3 / 1e-3)
    assert found["launch"]["median_s"] == 1e-3
    assert {figures["repeats"] for name, figures in found.items() if name != "bytes"} == {20}


def test_what_is_not_done_right_is_not_timed(numpy_as_cupy):
    numpy_as_cupy.setattr(ceilings, "times_of", lambda _call, repeats: pytest.fail("it was timed"))

    def is_off_by_much(x, weight, out):
        multiply(x, weight, out)
        out[0, -1] += 100

    numpy_as_cupy.setattr(cublas, "product_into", is_off_by_much)
    with pytest.raises(AssertionError, match="cuBLAS"):
        ceilings.product()
    module = types.SimpleNamespace(get_function=lambda _name: lambda _grid, _block, _arguments: None)
    numpy_as_cupy.setattr(ceilings.device, "load_module", lambda _path: module)
    with pytest.raises(AssertionError, match="read_all"):
        ceilings.bandwidths()
