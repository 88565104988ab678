"""Kernels compute what CUDA says they compute: shapes, shared memory, collectives, atomics, cooperative groups."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import ml_dtypes
import numpy as np
import pytest

import emulator

RNG = np.random.default_rng(20261121)


def kernel(code, name="k", **options):
    return emulator.RawModule(code, **options).get_function(name)


G = 'extern "C" __global__ void k'


@pytest.mark.parametrize("grid", [(1,), (3,), (2, 3), (2, 1, 4)])
@pytest.mark.parametrize("block", [(1,), (33,), (1024,), (16, 5), (4, 3, 7), (2, 2, 64)])
def test_every_thread_runs_once_with_its_own_indices(grid, block):
    code = (
        G
        + """(unsigned* out) {
      unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
      unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
      unsigned n = blockDim.x * blockDim.y * blockDim.z;
      out[block * n + thread] += 1 + block * n + thread;
    }"""
    )
    total = int(np.prod(grid) * np.prod(block))
    out = np.zeros(total, np.uint32)
    kernel(code)(grid, block, (out,))
    np.testing.assert_array_equal(out, 1 + np.arange(total))


@pytest.mark.parametrize("n", [1, 31, 32, 33, 100, 256, 1000])
def test_block_reversal_through_shared_memory(n):
    code = (
        G
        + "(const float* x, float* out) { extern __shared__ float s[]; int t = threadIdx.x; s[t] = x[t];"
        + (" __syncthreads(); out[t] = s[blockDim.x - 1 - t]; }")
    )
    x = RNG.standard_normal(n).astype(np.float32)
    out = np.empty_like(x)
    kernel(code)((1,), (n,), (x, out), shared_mem=4 * n)
    np.testing.assert_array_equal(out, x[::-1])


def test_dynamic_shared_memory_is_one_buffer_under_many_names():
    code = """
    extern __shared__ int everywhere[];
    __device__ int look(int i) { extern __shared__ unsigned char bytes[]; return bytes[i]; }
    extern "C" __global__ void k(int* out) {
      everywhere[threadIdx.x] = 0x01010101 * threadIdx.x;
      __syncthreads();
      out[threadIdx.x] = look(4 * threadIdx.x + 3);
    }"""
    out = np.zeros(64, np.int32)
    kernel(code)((1,), (64,), (out,), shared_mem=256)
    np.testing.assert_array_equal(out, np.arange(64))


def test_more_than_48_kib_must_be_asked_for():
    k = kernel(G + "(float* out) { extern __shared__ float s[]; s[20000] = 5; out[0] = s[20000]; }")
    out = np.zeros(1, np.float32)
    with pytest.raises(emulator.LaunchError, match="max_dynamic_shared_size_bytes"):
        k((1,), (1,), (out,), shared_mem=81920)
    k.max_dynamic_shared_size_bytes = 81920
    k((1,), (1,), (out,), shared_mem=81920)
    assert out[0] == 5
    with pytest.raises(emulator.LaunchError, match="232448"):
        k.max_dynamic_shared_size_bytes = 300_000


@pytest.mark.parametrize("width", [2, 4, 8, 16, 32])
@pytest.mark.parametrize("form", ["", "_xor", "_up", "_down"])
def test_shuffles(form, width):
    code = (
        G
        + "(const int* source, int* out) { int t = threadIdx.x;"
        + f" out[t] = __shfl{form}_sync(~0u, 100 + t, source[t], {width}); }}"
    )
    lanes = np.arange(32)
    segment = lanes // width * width
    uniform = int(RNG.integers(0, width))
    source = RNG.integers(0, 64, 32) if form == "" else np.full(32, uniform)
    read = {
        "": segment + source % width,
        "_xor": lanes ^ source,
        "_up": np.where(lanes - source >= segment, lanes - source, lanes),
        "_down": np.where(lanes + source < segment + width, lanes + source, lanes),
    }[form]
    out = np.zeros(32, np.int32)
    kernel(code)((1,), (32,), (source.astype(np.int32), out))
    np.testing.assert_array_equal(out, 100 + read)


@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.float32, np.int64, np.float64])
def test_shuffles_carry_every_type(dtype):
    name = {"int32": "int", "uint32": "unsigned", "float32": "float", "int64": "long long", "float64": "double"}[
        np.dtype(dtype).name
    ]
    code = G + f"(const {name}* x, {name}* out) {{ out[threadIdx.x] = __shfl_xor_sync(~0u, x[threadIdx.x], 5); }}"
    x = (RNG.standard_normal(64) * 1e6).astype(dtype)
    out = np.zeros_like(x)
    kernel(code)((1,), (64,), (x, out))
    np.testing.assert_array_equal(out, x[np.arange(64) ^ 5])


def test_divergent_groups_of_one_warp():
    code = (
        G
        + """(const int* x, int* out) {
      int lane = threadIdx.x % 32, v = x[threadIdx.x];
      if (lane % 3 == 0) {
        unsigned mask = 0x49249249u;
        for (int i = 0; i < 4; i++) v += __shfl_sync(mask, v, 3 * i);
      } else if (lane % 3 == 1) {
        v = __reduce_add_sync(0x92492492u, v);
      } else {
        v = __popc(__ballot_sync(0x24924924u, v > 0));
      }
      out[threadIdx.x] = v;
    }"""
    )
    x = RNG.integers(-50, 50, 64).astype(np.int32)
    out = np.zeros_like(x)
    kernel(code)((1,), (64,), (x, out))
    expected = np.zeros_like(x)
    for warp in range(2):
        v = x[32 * warp : 32 * warp + 32].copy()
        third = np.arange(32) % 3
        for i in range(4):
            v[third == 0] += v[3 * i]
        v[third == 1] = v[third == 1].sum()
        v[third == 2] = (v[third == 2] > 0).sum()
        expected[32 * warp : 32 * warp + 32] = v
    np.testing.assert_array_equal(out, expected)


def test_votes_matches_and_reductions():
    code = (
        G
        + """(const int* x, unsigned* out) {
      int v = x[threadIdx.x], same;
      unsigned* o = out + 12 * threadIdx.x;
      o[0] = __ballot_sync(~0u, v & 1);
      o[1] = __any_sync(~0u, v == 7);
      o[2] = __all_sync(~0u, v < 100);
      o[3] = __match_any_sync(~0u, v % 5);
      o[4] = __match_all_sync(~0u, v / 1000, &same) + same;
      o[5] = __reduce_add_sync(~0u, v);
      o[6] = __reduce_min_sync(~0u, v);
      o[7] = __reduce_max_sync(~0u, v);
      o[8] = __reduce_and_sync(~0u, (unsigned)v);
      o[9] = __reduce_or_sync(~0u, (unsigned)v);
      o[10] = __reduce_xor_sync(~0u, (unsigned)v);
      o[11] = __activemask() >> (threadIdx.x % 32) & 1;
    }"""
    )
    x = RNG.integers(0, 90, 32).astype(np.int32)
    out = np.zeros((32, 12), np.uint32)
    kernel(code)((1,), (32,), (x, out))
    bits = lambda mask: sum(1 << i for i in np.flatnonzero(mask))  # noqa: E731
    common = [
        bits(x & 1), int((x == 7).any()), 1, None, 0xFFFFFFFF + 1 & 0xFFFFFFFF, x.sum(), x.min(), x.max(),
        np.bitwise_and.reduce(x), np.bitwise_or.reduce(x), np.bitwise_xor.reduce(x), 1,
    ]  # fmt: skip
    for lane in range(32):
        expected = [*common]
        expected[3] = bits(x % 5 == x[lane] % 5)
        np.testing.assert_array_equal(out[lane], np.array(expected, np.uint64).astype(np.uint32))


@pytest.mark.parametrize("block", [32, 50, 256])
def test_counting_barriers_in_a_loop(block):
    code = (
        G
        + """(const int* x, int* out, int rounds) {
      for (int r = 0; r < rounds; r++) {
        int c = __syncthreads_count(x[threadIdx.x] > r), o = __syncthreads_or(x[threadIdx.x] > r);
        int a = __syncthreads_and(x[threadIdx.x] > r);
        if (threadIdx.x == blockDim.x - 1) out[r] = c * 4 + (o != 0) * 2 + (a != 0);
      }
    }"""
    )
    x = RNG.integers(0, 12, block).astype(np.int32)
    out = np.zeros(15, np.int32)
    kernel(code)((1,), (block,), (x, out, np.int32(15)))
    r = np.arange(15)[:, None]
    np.testing.assert_array_equal(out, (x > r).sum(1) * 4 + (x > r).any(1) * 2 + (x > r).all(1))


@pytest.mark.parametrize(
    ("operation", "c_type", "dtype", "start", "combine"),
    [
        ("atomicAdd", "int", np.int32, 5, lambda a, v: a + v.sum()),
        ("atomicAdd", "unsigned long long", np.uint64, 5, lambda a, v: a + v.sum()),
        ("atomicAdd", "float", np.float32, 0, lambda a, v: v.sum()),
        ("atomicAdd", "double", np.float64, 0, lambda a, v: v.sum()),
        ("atomicSub", "int", np.int32, 5, lambda a, v: a - v.sum()),
        ("atomicMin", "int", np.int32, 10**6, lambda a, v: v.min()),
        ("atomicMax", "unsigned", np.uint32, 0, lambda a, v: v.max()),
        ("atomicAnd", "unsigned", np.uint32, 0xFFFFFFFF, lambda a, v: np.bitwise_and.reduce(v)),
        ("atomicOr", "unsigned", np.uint32, 0, lambda a, v: np.bitwise_or.reduce(v)),
        ("atomicXor", "unsigned", np.uint32, 3, lambda a, v: 3 ^ np.bitwise_xor.reduce(v)),
        ("atomicInc", "unsigned", np.uint32, 0, None),
    ],
)
def test_atomics_across_blocks(operation, c_type, dtype, start, combine):
    code = G + f"({c_type}* out, const {c_type}* x) {{ {operation}(out, x[blockIdx.x * blockDim.x + threadIdx.x]); }}"
    values = RNG.integers(1, 1000, 64 * 96).astype(dtype)
    if operation == "atomicInc":
        values[:] = 6
    out = np.array([start], dtype)
    kernel(code)((64,), (96,), (out, values))
    expected = 64 * 96 % 7 if combine is None else combine(dtype(start), values)
    np.testing.assert_allclose(out[0], expected, rtol=1e-5)


def test_compare_and_swap_and_a_lock():
    code = (
        G
        + """(int* lock, int* sum, float* largest, const float* x) {
      float v = x[blockIdx.x * blockDim.x + threadIdx.x];
      int old = __float_as_int(*largest);
      while (v > __int_as_float(old)) {
        int seen = atomicCAS((int*)largest, old, __float_as_int(v));
        if (seen == old) break;
        old = seen;
      }
      if (threadIdx.x % 32 == 0) {
        while (atomicCAS(lock, 0, 1) != 0) {}
        *(volatile int*)sum = *(volatile int*)sum + 1;
        __threadfence();
        atomicExch(lock, 0);
      }
    }"""
    )
    x = RNG.standard_normal(40 * 64).astype(np.float32)
    lock, total, largest = np.zeros(1, np.int32), np.zeros(1, np.int32), np.zeros(1, np.float32)
    kernel(code)((40,), (64,), (lock, total, largest, x))
    assert total[0] == 80
    assert largest[0] == x.max()


@pytest.mark.parametrize("blocks", [1, 2, 17, 64])
def test_cooperative_grid_sync(blocks):
    code = (
        "#include <cooperative_groups.h>\n"
        + G
        + """(int* a, int* b, int rounds) {
      auto grid = cooperative_groups::this_grid();
      int n = gridDim.x * blockDim.x, i = blockIdx.x * blockDim.x + threadIdx.x;
      for (int r = 0; r < rounds; r++) {
        b[i] = a[(i + 1) % n] + 1;
        grid.sync();
        int* t = a; a = b; b = t;
      }
    }"""
    )
    n, rounds = 32 * blocks, 9
    a, b = np.arange(n, dtype=np.int32), np.zeros(n, np.int32)
    kernel(code, enable_cooperative_groups=True)((blocks,), (32,), (a, b, np.int32(rounds)))
    np.testing.assert_array_equal(b, np.roll(np.arange(n), -rounds) + rounds)


@pytest.mark.parametrize("lanes", [1, 2, 4, 8, 16, 32])
def test_tiles_of_every_size(lanes):
    code = (
        "#include <cooperative_groups.h>\n#include <cooperative_groups/reduce.h>\nnamespace cg = cooperative_groups;\n"
        + G
        + f"""(const float* x, float* out) {{
      auto tile = cg::tiled_partition<{lanes}>(cg::this_thread_block());
      float sum = cg::reduce(tile, x[threadIdx.x], cg::plus<float>());
      if (tile.thread_rank() == 0) out[tile.meta_group_rank()] = sum;
    }}"""
    )
    x = RNG.standard_normal(96).astype(np.float32)
    out = np.zeros(96 // lanes, np.float32)
    kernel(code)((1,), (96,), (x, out))
    np.testing.assert_allclose(out, x.reshape(-1, lanes).sum(1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(16, 16, 16), (32, 8, 16), (8, 32, 16)])
@pytest.mark.parametrize("kind", ["half", "__nv_bfloat16"])
@pytest.mark.parametrize("layouts", [("row_major", "col_major"), ("col_major", "row_major")])
def test_wmma(shape, kind, layouts):
    m, n, k = shape
    code = f"""
    #include <mma.h>
    using namespace nvcuda;
    extern "C" __global__ void k(const {kind}* a, const {kind}* b, float* c) {{
      wmma::fragment<wmma::matrix_a, {m}, {n}, {k}, {kind}, wmma::{layouts[0]}> fa;
      wmma::fragment<wmma::matrix_b, {m}, {n}, {k}, {kind}, wmma::{layouts[1]}> fb;
      wmma::fragment<wmma::accumulator, {m}, {n}, {k}, float> fc;
      wmma::load_matrix_sync(fc, c, {n}, wmma::mem_row_major);
      wmma::load_matrix_sync(fa, a, {m if layouts[0] == "col_major" else k});
      wmma::load_matrix_sync(fb, b, {k if layouts[1] == "col_major" else n});
      wmma::mma_sync(fc, fa, fb, fc);
      for (int i = 0; i < fc.num_elements; i++) fc.x[i] *= 2.0f;
      wmma::store_matrix_sync(c, fc, {n}, wmma::mem_row_major);
    }}"""
    dtype = np.float16 if kind == "half" else ml_dtypes.bfloat16
    a, b = RNG.standard_normal((m, k)).astype(dtype), RNG.standard_normal((k, n)).astype(dtype)
    c = RNG.standard_normal((m, n)).astype(np.float32)
    expected = 2 * (a.astype(np.float64) @ b.astype(np.float64) + c)
    stored = [
        np.ascontiguousarray(x.T) if layout == "col_major" else x for x, layout in zip((a, b), layouts, strict=True)
    ]
    kernel(code)((1,), (32,), (*stored, c))
    np.testing.assert_allclose(c, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("width", "trips"), [(16, 2), (32, 4), (64, 8), (24, 1), (40, 1), (72, 1)])
@pytest.mark.parametrize(("use", "layout"), [("matrix_a", "row_major"), ("matrix_b", "col_major")])
def test_fragments_have_bank_conflicts_where_hardware_has_them(use, layout, width, trips):
    """ldmatrix takes eight lines of 16 bytes at a time, which conflict where they lie 32, 64 or 128 bytes apart."""
    code = f"""
    #include <mma.h>
    using namespace nvcuda;
    extern "C" __global__ void k(const __nv_bfloat16* x, float* out) {{
      __shared__ __align__(32) __nv_bfloat16 tile[16 * {width}];
      for (int i = threadIdx.x; i < 16 * {width}; i += 32) tile[i] = x[i];
      __syncwarp();
      wmma::fragment<wmma::{use}, 16, 16, 16, __nv_bfloat16, wmma::{layout}> f;
      wmma::load_matrix_sync(f, tile, {width});
      out[threadIdx.x] = (float)f.x[0];
    }}"""
    function = emulator.RawModule(code, check=emulator.Checks(schedules=1, costs=True)).get_function("k")
    function((1,), (32,), (np.zeros(16 * width, ml_dtypes.bfloat16), np.zeros(32, np.float32)))
    loads = [line for line in function.costs.lines if line.space == "shared" and not line.write]
    assert sum(line.requests for line in loads) == 8
    assert sum(line.transactions for line in loads) == 8 * trips


def test_templates_macros_helpers_and_constants():
    code = """
    #define KERNEL(NAME, BY) extern "C" __global__ void __launch_bounds__(64) NAME(float* x) { x[threadIdx.x] *= BY; }
    KERNEL(twice, 2)
    template <class T, int by> __global__ void scale(T* x) { x[threadIdx.x] *= by; }
    __constant__ float table[4] = {1, 2, 3, 4};
    __device__ __noinline__ float helper(float v, int i) { return v + table[i]; }
    extern "C" __global__ void add(float* x) {
      auto f = [=](float v) { return helper(v, threadIdx.x % 4); };
    #pragma unroll
      for (int i = 0; i < 2; i++) x[threadIdx.x] = f(x[threadIdx.x]);
    }"""
    module = emulator.RawModule(code, name_expressions=["scale<float, 3>", "scale<int, 5>"])
    x, i = np.ones(64, np.float32), np.ones(64, np.int32)
    module.get_function("twice")((1,), (64,), (x,))
    module.get_function("scale<float, 3>")((1,), (64,), (x,))
    module.get_function("scale<int, 5>")((1,), (64,), (i,))
    assert (x == 6).all()
    assert (i == 5).all()
    table = np.ndarray((4,), np.float32, module.get_global("table"))
    np.testing.assert_array_equal(table, [1, 2, 3, 4])
    table[:] = 10
    module.get_function("add")((1,), (64,), (x,))
    assert (x == 26).all()
    with pytest.raises(emulator.EmulatorError, match="no kernel 'thrice'"):
        module.get_function("thrice")
    with pytest.raises(emulator.EmulatorError, match="no __constant__"):
        module.get_global("nothing")


def test_includes_beside_the_source(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "two.cuh").write_text("#pragma once\n__device__ float two() { return 2.0f; }\n")
    (tmp_path / "one.cuh").write_text(
        '#pragma once\n#include "deep/two.cuh"\n__device__ float one() { return two() - 1; }\n'
    )
    (tmp_path / "main.cu").write_text(  # by either spelling
        '#include <one.cuh>\n#include "deep/two.cuh"\n#include "one.cuh"\n'
        + G
        + "(float* x) { x[0] = one() + two() * N; }\n"
    )
    x = np.zeros(1, np.float32)
    emulator.RawModule(path=str(tmp_path / "main.cu"), options=("-DN=5", "-std=c++17")).get_function("k")(
        (1,), (1,), (x,)
    )
    assert x[0] == 11
    (tmp_path / "one.cuh").write_text("__device__ float one() {\n  return nonsense;\n}\n")
    with pytest.raises(emulator.CompileError) as caught:
        emulator.RawModule(path=str(tmp_path / "main.cu"), options=("-DN=5",)).get_function("k")
    assert (caught.value.diagnostics[0].file, caught.value.diagnostics[0].line) == ("one.cuh", 2)


def test_structs_by_value_and_null_pointers():
    code = "struct P { int a; float b; double c; };\n" + G + "(P p, const float* maybe, double* out) {"
    code += " out[0] = p.a + p.b + p.c + (maybe == nullptr); }"
    p = np.array([(1, 2.5, 3.25)], np.dtype([("a", "i4"), ("b", "f4"), ("c", "f8")]))[0]
    out = np.zeros(1)
    kernel(code)((1,), (1,), (p, None, out))
    assert out[0] == 7.75


def test_printf(capfd):
    kernel(G + '(int n) { if (threadIdx.x == n) printf("thread %d says %.2f\\n", threadIdx.x, 1.5f); }')(
        (1,), (8,), (np.int32(3),)
    )
    assert capfd.readouterr().out == "thread 3 says 1.50\n"


def test_launches_from_several_threads():
    k = kernel(G + "(float* x) { for (int i = 0; i < 100; i++) { x[threadIdx.x] += 1; __syncthreads(); } }")
    arrays = [np.zeros(128, np.float32) for _ in range(6)]

    def work(array):
        own = kernel(G + "(float* x) { for (int i = 0; i < 100; i++) { x[threadIdx.x] += 1; __syncthreads(); } }")
        for _ in range(20):
            own((1,), (128,), (array,))

    threads = [threading.Thread(target=work, args=(a,)) for a in arrays]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert k is not None
    assert all((a == 2000).all() for a in arrays)


def test_a_forked_child_can_launch():
    k = kernel(G + "(float* x) { x[blockIdx.x * blockDim.x + threadIdx.x] += 1; }")
    x = np.zeros(4096, np.float32)
    k((16,), (256,), (x,))
    child = os.fork()
    if child == 0:
        k((16,), (256,), (x,))
        os._exit(0 if (x == 2).all() else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(
    "variables", [{"EMULATOR_PORTABLE": "1"}, {"EMULATOR_THREADS": "1"}, {"EMULATOR_CXX": "clang++"}]
)
def test_other_builds_compute_the_same(variables, tmp_path):
    import shutil

    if variables.get("EMULATOR_CXX") and shutil.which(variables["EMULATOR_CXX"]) is None:
        pytest.skip("NOT RUN: clang++ is not installed")
    chosen = ["test_shuffles", "test_cooperative_grid_sync", "test_block_reversal", "test_wmma", "test_divergent"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", " or ".join(chosen)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
