"""What is wrong is said clearly, at the kernel's own line, and the process lives on."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import emulator

G = 'extern "C" __global__ void k'
FINE = G + "(float* x) { x[threadIdx.x] = 1; }"


def kernel(code, **options):
    return emulator.RawModule(code, **options).get_function("k")


def still_works():
    x = np.zeros(4, np.float32)
    kernel(FINE)((1,), (4,), (x,))
    return bool((x == 1).all())


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("grid", "block", "words"),
    [
        ((0,), (1,), "grid (0, 1, 1) is 0 in x"),
        ((1,), (0,), "block (0, 1, 1) is 0 in x"),
        ((1,), (1025,), "block (1025, 1, 1) is 1025 in x"),
        ((1,), (33, 32), "has 1056 threads"),
        ((1,), (1, 1, 65), "is 65 in z"),
        ((1, 65536), (1,), "is 65536 in y"),
        ((1, 1, 1, 1), (1,), "has 4 numbers"),
        (5, (1,), "grid is 5"),
        (("a",), (1,), "expected a tuple"),
    ],
)
def test_bad_launch_shape(grid, block, words):
    with pytest.raises(emulator.LaunchError) as caught:
        kernel(FINE)(grid, block, (np.zeros(4, np.float32),))
    assert words in str(caught.value)


def refused(*args):
    code = G + "(const float* weights, int* counts, int n, float scale, bool on) {}"
    with pytest.raises(emulator.LaunchError) as caught:
        kernel(code)((1,), (1,), args)
    return str(caught.value)


def test_arguments_are_refused_by_name():
    f, i = np.zeros(4, np.float32), np.zeros(4, np.int32)
    fine = [f, i, np.int32(1), np.float32(1), np.bool_(True)]
    kernel(G + "(const float* weights, int* counts, int n, float scale, bool on) {}")((1,), (1,), fine)
    assert "takes 5 arguments (weights, counts, n, scale, on), 2 given" in refused(f, i)
    for place, value, words in [
        (0, i, "argument 0 (`weights`) is a pointer to const 4-byte floating-point: got an array of int32"),
        (0, f.astype(np.float64), "got an array of float64"),
        (0, [1.0], "expected a NumPy array, got list"),
        (0, np.zeros((4, 4), np.float32)[:, 0], "is not C-contiguous"),
        (1, f, "got an array of float32"),
        (2, 1, "got a Python int; wrap it: np.int32(…)"),
        (2, np.int64(1), "got int64"),
        (2, np.float32(1), "is a 4-byte integer"),
        (3, 1.0, "got a Python float; wrap it: np.float32(…)"),
        (3, np.int32(1), "is a 4-byte floating-point"),
        (4, np.int32(1), "is a 1-byte bool"),
    ]:
        args = list(fine)
        args[place] = value
        assert words in refused(*args)
    i.flags.writeable = False
    assert "read-only" in refused(f, i, *fine[2:])


def test_compile_error_is_at_the_kernels_line():
    with pytest.raises(emulator.CompileError) as caught:
        kernel("// a comment\n" + G + "(float* x) {\n  int y = 1\n  x[0] = y;\n}")
    first = caught.value.diagnostics[0]
    assert first.file == "kernel.cu"
    assert first.line in (3, 4)
    assert "kernel.cu:" in str(caught.value)
    with pytest.raises(emulator.CompileError) as caught:
        kernel("struct Big { char c[64]; };\n" + G + "(float* x) {\n  Big b;\n  b = __shfl_sync(~0u, b, 0);\n}")
    assert (caught.value.diagnostics[0].file, caught.value.diagnostics[0].line) == ("kernel.cu", 4)


@pytest.mark.parametrize(
    ("code", "line", "words"),
    [
        ("// k\n" + G + "(float* x) {\n  if (x) {\n    x[0] = 1;\n  }\n", 2, "this `{` is never closed"),
        (FINE + "\nstruct Pair {\n  int a, b;\n}\n\n", 4, "the file ends too early: a semicolon or a brace"),
    ],
)
def test_a_source_that_breaks_off_is_told_at_its_own_line(code, line, words):
    with pytest.raises(emulator.CompileError) as caught:
        kernel(code)
    (only,) = caught.value.diagnostics
    assert (only.file, only.line) == ("kernel.cu", line)
    assert words in only.message


def test_names_that_a_gpu_would_not_find():
    with pytest.raises(emulator.EmulatorError, match=r'extern "C"'):
        kernel("__global__ void k(float* x) {}")
    kernel('extern "C" {\n__global__ void k(float* x) {}\n}')
    with pytest.raises(emulator.EmulatorError, match="its __global__ functions: k"):
        emulator.RawModule(FINE).get_function("other")
    with pytest.raises(emulator.EmulatorError, match="either `code`"):
        emulator.RawModule()
    with pytest.raises(emulator.EmulatorError, match="'--nonsense' is not known"):
        emulator.RawModule(FINE, options=("--nonsense",))
    with pytest.raises(emulator.EmulatorError, match="textures"):
        emulator.RawModule("texture<float> t;" + FINE)


def guarded(count):
    """A float32 array that ends where a forbidden page begins."""
    page = mmap.PAGESIZE
    memory = mmap.mmap(-1, 2 * page)
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    assert libc.mprotect(ctypes.c_void_p(address + page), page, 0) == 0
    return memory, np.frombuffer(memory, np.float32, count, page - 4 * count)


def test_fault_names_line_block_and_thread():
    _memory, x = guarded(8)
    code = G + "(float* x) {\n  int i = blockIdx.x * blockDim.x + threadIdx.x;\n  x[i] = i;\n}"
    with pytest.raises(emulator.KernelCrash) as caught:
        kernel(code)((3,), (4,), (x,))
    crash = caught.value
    assert (crash.kind, crash.line, crash.block, crash.thread) == ("memory-fault", 3, (2, 0, 0), (0, 0, 0))
    assert "x[i] = i;" in str(crash)
    assert still_works()


@pytest.mark.parametrize(
    ("body", "kind", "line"),
    [
        ("x[0] = 7 / (int)x[0];", "arithmetic-fault", 2),
        ("assert(x[0] > 0);", "trap", 2),
        ("__trap();", "trap", 2),
        ("volatile int deep = 0; deep = f(1000000) + deep;", "stack-overflow", None),
        ("if (threadIdx.x < 3)\n  __shfl_sync(0xf0, 1, 0);", "collective-divergence", 3),
        ("if (threadIdx.x % 2) __syncthreads(); else __shfl_sync(~0u, 1, 0);", "barrier-divergence", 2),
    ],
)
def test_crashes_are_reported_and_survived(body, kind, line):
    helper = "__device__ __noinline__ int f(int n) { volatile char room[64]; room[0] = n; return n ? f(n - 1) + room[0] : 0; }"
    with pytest.raises(emulator.KernelCrash) as caught:
        kernel(f"{helper} {G}(float* x) {{\n{body}\n}}")((1,), (32,), (np.zeros(4, np.float32),))
    assert caught.value.kind == kind
    if line:
        assert caught.value.line == line
    assert still_works()


@pytest.mark.parametrize("cooperative", [False, True])
@pytest.mark.parametrize("who", ["true", "blockIdx.x == 3 && threadIdx.x == 1"])
def test_endless_loop(monkeypatch, cooperative, who):
    monkeypatch.setenv("EMULATOR_TIME_LIMIT", "0.4")
    code = G + f"(volatile float* x) {{\n  if ({who})\n    while (x[0] == 0) {{}}\n}}"
    started = time.monotonic()
    with pytest.raises(emulator.KernelTimeout) as caught:
        kernel(code, enable_cooperative_groups=cooperative)((6,), (8,), (np.zeros(1, np.float32),))
    assert time.monotonic() - started < 20
    assert caught.value.line in (2, 3)
    assert "endless loop" in str(caught.value)
    assert still_works()


def test_grid_sync_needs_a_cooperative_launch_and_all_blocks():
    code = (
        "#include <cooperative_groups.h>\n"
        + G
        + "(int n) {\n  if (blockIdx.x < n) cooperative_groups::this_grid().sync();\n}"
    )
    with pytest.raises(emulator.KernelCrash, match="cooperative launch"):
        kernel(code)((2,), (32,), (np.int32(2),))
    with pytest.raises(emulator.KernelCrash, match="ended without reaching it"):
        kernel(code, enable_cooperative_groups=True)((4,), (32,), (np.int32(2),))
    assert still_works()


def test_ctrl_c_stops_a_kernel():
    code = (
        "import emulator, numpy as np, os, signal, threading, time\n"
        f"k = emulator.RawModule('''{G}(volatile float* x) {{ while (x[0] == 0) {{}} }}''').get_function('k')\n"
        "threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()\n"
        "t = time.monotonic()\n"
        "try:\n    k((4,), (64,), (np.zeros(1, np.float32),))\n"
        "except KeyboardInterrupt:\n    print('interrupted', time.monotonic() - t < 10)\n"
        f"y = np.zeros(4, np.float32); emulator.RawModule('''{FINE}''').get_function('k')((1,), (4,), (y,)); print(y.sum())\n"
    )
    done = run_python(code)
    assert done.stdout.split() == ["interrupted", "True", "4.0"], done.stderr


def test_faults_outside_kernels_are_left_alone():
    code = (
        "import faulthandler, ctypes, emulator, numpy as np\nfaulthandler.enable()\n"
        f"emulator.RawModule('''{FINE}''').get_function('k')((1,), (4,), (np.zeros(4, np.float32),))\nctypes.string_at(0)\n"
    )
    done = run_python(code)
    assert done.returncode == -signal.SIGSEGV
    assert "Fatal Python error" in done.stderr


def test_no_compiler(tmp_path):
    code = f"import emulator\nemulator.RawModule('''{FINE}''').get_function('k')\n"
    done = run_python(code, PATH=str(tmp_path), EMULATOR_CACHE=str(tmp_path / "cache"), EMULATOR_CXX="")
    if "ziglang" in done.stderr and "pip install ziglang" not in done.stderr:
        pytest.skip("NOT RUN: ziglang is installed, so there is a compiler")
    assert "no C++ compiler was found" in done.stderr
    assert "pip install ziglang" in done.stderr
    done = run_python(code, EMULATOR_CXX="nonexistent-compiler", EMULATOR_CACHE=str(tmp_path / "cache"))
    assert "EMULATOR_CXX names 'nonexistent-compiler'" in done.stderr


@pytest.mark.parametrize(
    ("name", "value"), [("EMULATOR_THREADS", "many"), ("EMULATOR_TIME_LIMIT", "-3"), ("EMULATOR_TIME_LIMIT", "soon")]
)
def test_bad_settings_are_named(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(emulator.EmulatorError, match=name):
        kernel(FINE)((1,), (4,), (np.zeros(4, np.float32),))


def test_outputs_may_be_those_of_one_kernel():
    code = G.replace(" k", " fill") + "(float* x) { x[0] = 1; }\n" + G + "(float* y) { y[0] = 1; }"
    y = np.zeros(4, np.float32)
    for outputs in ((), ("fill:x",), ("fill:y",)):
        kernel(code, check=emulator.Checks(outputs=outputs))((1,), (1,), (y,))
    with pytest.raises(emulator.CheckError, match="y"):
        kernel(code, check=emulator.Checks(outputs=("fill:x", "k:y")))((1,), (1,), (y,))
    for outputs in (("x",), ("k:x",)):
        with pytest.raises(emulator.EmulatorError, match="names 'x', which is no array parameter"):
            kernel(code, check=emulator.Checks(outputs=outputs))((1,), (1,), (y,))
