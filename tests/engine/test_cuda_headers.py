"""The search for mma.h: wheels before toolkits, and never another release's."""

from __future__ import annotations

import importlib.machinery
from pathlib import Path

import pytest

from engine import cuda_headers


@pytest.fixture
def place(tmp_path, monkeypatch):
    """No wheels, no toolkit; what a test puts into the folder `nvidia` is a wheel's."""
    spec = importlib.machinery.ModuleSpec("nvidia", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path / "nvidia")]
    monkeypatch.setattr(cuda_headers.importlib.util, "find_spec", lambda _name: spec)
    monkeypatch.setattr(cuda_headers.shutil, "which", lambda _name: None)
    monkeypatch.setattr(cuda_headers, "USUAL_TOOLKIT", str(tmp_path / "usual"))
    for name in ("CUDA_PATH", "CUDA_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def install(folder: Path, *headers: str, version: int = 0) -> Path:
    for header in headers:
        (folder / header).parent.mkdir(parents=True, exist_ok=True)
        (folder / header).write_text("")
    if version:
        (folder / "cuda.h").write_text(f"#define CUDA_VERSION {version}\n")
    return folder


def test_one_folder_of_the_wheels(place):
    folder = install(place / "nvidia" / "cu13" / "include", "mma.h", "crt/mma.h")
    install(place / "nvidia" / "cuda_runtime" / "include", "mma.h", "crt/mma.h")
    assert cuda_headers.folders(13) == [folder]


def test_two_folders_of_cuda_12s_wheels(place):
    runtime = install(place / "nvidia" / "cuda_runtime" / "include", "mma.h")
    nvcc = install(place / "nvidia" / "cuda_nvcc" / "include", "crt/mma.h")
    install(place / "nvidia" / "cu13" / "include", "mma.h", "crt/mma.h")
    assert cuda_headers.folders(12) == [runtime, nvcc]


def test_a_toolkit_where_the_wheels_have_half(place, monkeypatch):
    install(place / "nvidia" / "cu13" / "include", "mma.h")
    toolkit = install(place / "toolkit" / "include", "mma.h", "crt/mma.h", version=13010)
    monkeypatch.setenv("CUDA_HOME", str(place / "toolkit"))
    assert cuda_headers.folders(13) == [toolkit]


def test_the_compilers_own_toolkit(place, monkeypatch):
    toolkit = install(place / "cuda-13.0" / "include", "mma.h", "crt/mma.h", version=13000)
    (place / "cuda-13.0" / "bin").mkdir()
    (place / "cuda-13.0" / "bin" / "nvcc").write_text("")
    (place / "nvcc").symlink_to(place / "cuda-13.0" / "bin" / "nvcc")
    monkeypatch.setattr(cuda_headers.shutil, "which", lambda _name: str(place / "nvcc"))
    assert cuda_headers.folders(13) == [toolkit]


def test_the_usual_place(place):
    toolkit = install(place / "usual" / "include", "mma.h", "crt/mma.h", version=12040)
    assert cuda_headers.folders(12) == [toolkit]
    assert cuda_headers.folders(13) == []


def test_another_release_is_passed_over(place, monkeypatch):
    install(place / "toolkit" / "include", "mma.h", "crt/mma.h", version=12080)
    monkeypatch.setenv("CUDA_PATH", str(place / "toolkit"))
    assert cuda_headers.folders(13) == []
    assert cuda_headers.folders(12) == [place / "toolkit" / "include"]


def test_nothing_is_there(place):
    assert cuda_headers.folders(13) == []
    assert "pip install nvidia-cuda-crt" in cuda_headers.missing(13)
    assert "pip install nvidia-cuda-nvcc-cu12" in cuda_headers.missing(12)
