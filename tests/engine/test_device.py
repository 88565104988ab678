"""The choice of the device, and kernels from files."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

import emulator
from engine import device


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch):
    monkeypatch.setattr(device, "_choice", None)
    monkeypatch.setattr(device, "_check", False)
    monkeypatch.setenv("WARP60_DEVICE", "cpu")


@pytest.fixture
def source(tmp_path):
    (tmp_path / "part.cuh").write_text("__device__ float by() { return BY; }\n")
    path = tmp_path / "scale.cu"
    path.write_text('#include "part.cuh"\nextern "C" __global__ void scale(float* x) { x[threadIdx.x] *= by(); }\n')
    return path


def test_the_environment_chooses():
    assert device.name() == "cpu"
    assert device.xp is np
    assert device.label() == "cpu (emulated CUDA)"


@pytest.mark.parametrize("wrong", ["tpu", "CUDA", "gpu"])
def test_an_unknown_device_names_what_is_expected(monkeypatch, wrong):
    with pytest.raises(device.DeviceError, match="expected 'cuda' or 'cpu'"):
        device.select(wrong)
    monkeypatch.setenv("WARP60_DEVICE", wrong)
    with pytest.raises(device.DeviceError, match="expected 'cuda' or 'cpu'"):
        device.select()


def test_cuda_without_a_gpu_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(device, "why_no_cuda", lambda: "CuPy finds no NVIDIA GPU")
    with pytest.raises(device.DeviceError, match="'cuda' cannot be used: CuPy finds no NVIDIA GPU"):
        device.select("cuda")
    monkeypatch.delenv("WARP60_DEVICE")
    assert device.select() == "cpu"


def test_a_kernel_from_a_file(source):
    x = device.to_device(np.arange(4, dtype=np.float32))
    module = device.load_module(source, {"BY": 3})
    assert device.load_module(source, {"BY": 3}) is module
    module.get_function("scale")((1,), (4,), (x,))
    device.synchronize()
    np.testing.assert_array_equal(device.to_host(x), [0, 3, 6, 9])
    device.load_module(source, {"BY": 2}).get_function("scale")((1,), (4,), (x,))
    np.testing.assert_array_equal(device.to_host(x), [0, 6, 12, 18])


def test_an_edited_file_is_a_new_kernel(source):
    before = device.load_module(source, {"BY": 3})
    source.write_text(source.read_text().replace("*= by()", "= by()"))
    import os

    os.utime(source, ns=(1, 1))
    assert device.load_module(source, {"BY": 3}) is not before


def test_checked_kernels(source):
    device.select("cpu", check=emulator.Checks(outputs=("x",)))
    with pytest.raises(emulator.CheckError) as caught:
        device.load_module(source, {"BY": 3}).get_function("scale")((1,), (8,), (np.zeros(4, np.float32),))
    assert {f.kind for f in caught.value.findings} <= {"out-of-bounds", "uninitialised-output"}


def test_copies_are_copies():
    host = np.ones(3, np.float32)
    there = device.to_device(host)
    there[:] = 5
    assert (host == 1).all()


def test_a_missing_source_is_named():
    with pytest.raises(FileNotFoundError, match=r"nothing\.cu: no such CUDA source"):
        device.load_module("nothing.cu")


def test_headers_for_tensor_cores_are_named_where_they_are_missing(monkeypatch, source):
    nvrtc = types.SimpleNamespace(getVersion=lambda: (13, 0))
    compiled = []
    fake = types.SimpleNamespace(
        cuda=types.SimpleNamespace(nvrtc=nvrtc), RawModule=lambda **given: compiled.append(given)
    )
    monkeypatch.setitem(sys.modules, "cupy", fake)
    monkeypatch.setattr(device, "_choice", "cuda")
    device.load_module(source, {"BY": 5})
    assert len(compiled) == 1, "a kernel without them needs no headers"
    source.write_text("#include <mma.h>\n" + source.read_text())
    monkeypatch.setattr(device.cuda_headers, "folders", lambda _major: [])
    with pytest.raises(device.DeviceError, match=r"scale\.cu cannot be compiled: .* mma\.h .*CUDA 13.*nvidia-cuda-crt"):
        device.load_module(source, {"BY": 5})
    monkeypatch.setattr(device.cuda_headers, "folders", lambda _major: ["here", "there"])
    device.load_module(source, {"BY": 5})
    assert {"-Ihere", "-Ithere"} <= set(compiled[1]["options"])


@pytest.mark.gpu
def test_the_gpu_runs_the_same_file(monkeypatch, source):
    monkeypatch.setenv("WARP60_DEVICE", "cuda")
    assert device.select() == "cuda"
    x = device.to_device(np.arange(4, dtype=np.float32))
    (source.parent / "part.cuh").unlink()
    source.write_text('extern "C" __global__ void scale(float* x) { x[threadIdx.x] *= BY; }\n')
    device.load_module(source, {"BY": 3}).get_function("scale")((1,), (4,), (x,))
    np.testing.assert_array_equal(device.to_host(x), [0, 3, 6, 9])
