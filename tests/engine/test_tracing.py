"""Launches in the eyes of a tracer: all of them, in order, doing what they do without one."""

from __future__ import annotations

import numpy as np
import pytest

from engine import device, tracing

SOURCE = """
extern "C" __global__ void twice(float* x) { x[threadIdx.x] *= 2.0f; }
extern "C" __global__ void large(float* x) { extern __shared__ float s[]; s[threadIdx.x] = 1.0f; x[threadIdx.x] += s[0]; }
"""


@pytest.fixture
def kernels(on_cpu, tmp_path):
    path = tmp_path / "k.cu"
    path.write_text(SOURCE)
    return lambda name: device.load_module(path).get_function(name)


def test_every_launch_is_seen_and_done(kernels):
    names = []

    def tracer(name, launch):
        names.append(name)
        return launch()

    x = np.ones(4, np.float32)
    with tracing.tracing(tracer):
        kernels("twice")((1,), (4,), (x,))
        assert tracing.launched("library", lambda a, b: a + b, 1, 2) == 3
        kernels("twice")((1,), (4,), (x,), shared_mem=0)
    kernels("twice")((1,), (4,), (x,))
    assert names == ["twice", "library", "twice"]
    assert x.tolist() == [8.0] * 4


def test_a_kernel_s_attributes_are_its_own(kernels):
    x, needed = np.ones(4, np.float32), 100 << 10
    with tracing.tracing(lambda _name, launch: launch()):
        kernel = kernels("large")
        kernel.max_dynamic_shared_size_bytes = needed
        assert kernel.max_dynamic_shared_size_bytes == needed
        kernel((1,), (4,), (x,), shared_mem=needed)
    assert x.tolist() == [2.0] * 4


def test_nobody_looks_on_after_the_block_however_it_ends(kernels):
    without = kernels("twice")
    with pytest.raises(RuntimeError, match="stop"), tracing.tracing(lambda _name, launch: launch()):
        raise RuntimeError("stop")
    assert type(kernels("twice")) is type(without)
    assert tracing.launched("library", len, "abc") == 3
