"""The compile cache: one build however many ask, nothing half-made, bounded, and right after any change."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import emulator
from emulator import cache, compiler

FINE = 'extern "C" __global__ void k(float* x) { x[threadIdx.x] = 1; }'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("EMULATOR_CACHE", str(tmp_path / "cache"))
    cache.folder.cache_clear()
    yield tmp_path / "cache"
    monkeypatch.undo()
    cache.folder.cache_clear()


@pytest.fixture
def counted(tmp_path, monkeypatch):
    """A compiler that notes each time it runs."""
    log, script = tmp_path / "runs", tmp_path / "counting-g++"
    script.write_text(f'#!/bin/sh\necho run >> "{log}"\nexec g++ "$@"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("EMULATOR_CXX", str(script))
    return lambda: len(log.read_text().splitlines()) if log.exists() else 0


def build(code=FINE, **options):
    module = emulator.RawModule(code, **options)
    module.compile()
    return module


def works(module):
    x = np.zeros(4, np.float32)
    module.get_function("k")((1,), (4,), (x,))
    return bool((x == 1).all())


def test_a_thousand_requests_compile_once(folder, counted):
    build("// the runtime and the cache are warm now\n" + FINE)
    before = counted()
    code = (
        "import threading, emulator\n"
        f"code = '''{FINE} // contended'''\n"
        "def ask():\n    emulator.RawModule(code).compile()\n"
        "threads = [threading.Thread(target=ask) for _ in range(125)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code], env=os.environ) for _ in range(8)]
    assert [p.wait(timeout=120) for p in processes] == [0] * 8
    assert counted() == before + 1
    assert not list(folder.glob("build-*"))


def test_the_key_follows_source_flags_headers_and_compiler(folder, counted, tmp_path):
    build()
    first = counted()
    build()
    assert counted() == first
    build(FINE + "\n")
    build(options=("-DX=1",))
    assert counted() == first + 2
    (tmp_path / "a.cuh").write_text("#define A 1\n")
    (tmp_path / "a.cu").write_text('#include "a.cuh"\n' + FINE)
    emulator.RawModule(path=str(tmp_path / "a.cu")).compile()
    emulator.RawModule(path=str(tmp_path / "a.cu")).compile()
    assert counted() == first + 3
    (tmp_path / "a.cuh").write_text("#define A 2\n")
    emulator.RawModule(path=str(tmp_path / "a.cu")).compile()
    assert counted() == first + 4


def test_a_broken_file_is_built_again(folder):
    module = build(FINE + "// broken")
    assert module.library_path is not None
    module.library_path.unlink()  # this process goes on with the file that it has mapped
    module.library_path.write_bytes(b"\x7fELF and then nothing")
    code = f"import emulator, numpy as np\nm = emulator.RawModule('''{FINE}// broken''')\nx = np.zeros(4, np.float32)\n"
    code += "m.get_function('k')((1,), (4,), (x,)); print(x.sum())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ)
    assert done.stdout.strip() == "4.0", done.stderr


def test_a_failed_build_leaves_nothing(folder):
    build()
    before = sorted(p.name for p in folder.glob("*.so"))
    with pytest.raises(emulator.CompileError):
        build(FINE.replace("= 1", "= nonsense"))
    assert sorted(p.name for p in folder.glob("*.so")) == before
    assert not list(folder.glob("build-*"))


def test_size_is_bounded(folder, monkeypatch):
    first = build(FINE + "// first")
    assert first.library_path is not None
    size = first.library_path.stat().st_size
    os.utime(first.library_path, (1, 1))
    monkeypatch.setattr(cache, "MAX_BYTES", sum(f.stat().st_size for f in folder.glob("*.so")) + size // 2)
    second = build(FINE + "// second")
    assert second.library_path is not None
    assert not first.library_path.exists()
    assert second.library_path.exists()
    assert works(first)  # it is loaded already
    assert works(second)


@pytest.mark.skipif(os.geteuid() == 0, reason="NOT RUN: root may write everywhere")
def test_a_read_only_folder_still_works(folder):
    folder.mkdir(parents=True)
    folder.chmod(0o500)
    try:
        assert works(build(FINE + "// read-only"))
    finally:
        folder.chmod(0o700)


def test_a_folder_that_cannot_be_made_is_replaced(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EMULATOR_CACHE", str(tmp_path / "file" / "cache"))
    cache.folder.cache_clear()
    try:
        assert works(build(FINE + "// elsewhere"))
        assert not str(cache.folder()).startswith(str(tmp_path))
    finally:
        cache.folder.cache_clear()


def test_full_disk_is_said(folder, tmp_path, monkeypatch):
    build()
    script = tmp_path / "full-g++"
    script.write_text("#!/bin/sh\necho 'fatal error: error writing to x.o: No space left on device' >&2\nexit 1\n")
    script.chmod(0o700)
    cxx = compiler.Compiler((str(script),), "gcc")
    with pytest.raises(emulator.EmulatorError, match="no space is left"):
        compiler.compile_library(cxx, Path("x.cpp"), tmp_path / "x.so", [])


def test_threads_of_one_process_share_a_build(folder, counted):
    build()
    before = counted()
    threads = [threading.Thread(target=build, args=(FINE + "// threads",)) for _ in range(50)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert counted() == before + 1
