"""Small floating-point formats and intrinsics, against ml_dtypes and Python."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import emulator

RNG = np.random.default_rng(1)
AWKWARD = np.array(
    [0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 65504, 65519.9, 65520, 448, 463.9, 464, 480, 57344, 61440, 3.4e38]
)


def run(body, out, *arrays, header=""):
    types = {
        "float32": "float",
        "uint32": "unsigned",
        "int32": "int",
        "uint16": "unsigned short",
        "uint8": "unsigned char",
    }
    names = [f"in{i}" for i in range(len(arrays))]
    parameters = ", ".join(f"const {types[a.dtype.name]}* {n}" for a, n in zip(arrays, names, strict=True))
    code = f'{header}\nextern "C" __global__ void k({types[out.dtype.name]}* out, {parameters}, int n) {{'
    code += f" int i = blockIdx.x * blockDim.x + threadIdx.x; if (i < n) {{ {body} }} }}"
    emulator.RawModule(code).get_function("k")((-(-out.size // 256),), (256,), (out, *arrays, np.int32(out.size)))
    return out


def floats(count=100_000):
    bits = RNG.integers(0, 2**32, count, dtype=np.uint32).view(np.float32)
    usual = (RNG.standard_normal(count) * 10.0 ** RNG.integers(-8, 6, count)).astype(np.float32)
    return np.concatenate([AWKWARD.astype(np.float32), bits, usual])


@pytest.mark.parametrize(
    ("header", "type_", "dtype"),
    [("cuda_fp16.h", "__half", np.float16), ("cuda_bf16.h", "__nv_bfloat16", ml_dtypes.bfloat16)],
)
def test_sixteen_bits(header, type_, dtype):
    include = f"#include <{header}>"
    bits = np.arange(65536, dtype=np.uint16)
    wide = run(f"{type_} h; h.x = in0[i]; out[i] = (float)h;", np.zeros(65536, np.float32), bits, header=include)
    np.testing.assert_array_equal(wide, bits.view(dtype).astype(np.float32))
    x = floats()
    narrow = run(f"{type_} h = in0[i]; out[i] = h.x;", np.zeros(x.size, np.uint16), x, header=include)
    with np.errstate(over="ignore"):
        expected = x.astype(dtype)
    number = ~np.isnan(x)
    np.testing.assert_array_equal(narrow[number], expected[number].view(np.uint16))
    assert np.isnan(narrow[~number].view(dtype).astype(np.float32)).all()


@pytest.mark.parametrize("operator", ["+", "-", "*", "/"])
def test_half_arithmetic_rounds_once(operator):
    a, b = RNG.standard_normal(50_000).astype(np.float16), RNG.standard_normal(50_000).astype(np.float16)
    body = f"__half x, y; x.x = in0[i]; y.x = in1[i]; out[i] = (x {operator} y).x;"
    got = run(body, np.zeros(a.size, np.uint16), a.view(np.uint16), b.view(np.uint16), header="#include <cuda_fp16.h>")
    with np.errstate(all="ignore"):
        expected = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide}[operator](a, b)
    np.testing.assert_array_equal(got, expected.view(np.uint16))


@pytest.mark.parametrize(
    ("kind", "dtype", "largest"),
    [("e4m3", ml_dtypes.float8_e4m3fn, 448.0), ("e5m2", ml_dtypes.float8_e5m2, 57344.0)],
)
def test_eight_bits(kind, dtype, largest):
    include = "#include <cuda_fp8.h>"
    bits = np.arange(256, dtype=np.uint8)
    wide = run(
        f"__nv_fp8_{kind} v; v.__x = in0[i]; out[i] = (float)v;", np.zeros(256, np.float32), bits, header=include
    )
    np.testing.assert_array_equal(wide, bits.view(dtype).astype(np.float32))
    x = floats(50_000)
    x = x[~np.isnan(x)]
    narrow = run(f"out[i] = __nv_fp8_{kind}(in0[i]).__x;", np.zeros(x.size, np.uint8), x, header=include)
    expected = np.clip(x, -largest, largest).astype(dtype)
    np.testing.assert_array_equal(narrow, expected.view(np.uint8))


@pytest.mark.parametrize(
    ("body", "model"),
    [
        ("out[i] = __popc(in0[i]);", lambda v: bin(v).count("1")),
        ("out[i] = __clz(in0[i]);", lambda v: 32 - v.bit_length()),
        ("out[i] = __ffs(in0[i]);", lambda v: (v & -v).bit_length()),
        ("out[i] = __brev(in0[i]);", lambda v: int(f"{v:032b}"[::-1], 2)),
        ("out[i] = __byte_perm(in0[i], ~in0[i], 0x5146);", None),
        (
            "out[i] = __funnelshift_l(in0[i], 0x12345678u, 9);",
            lambda v: ((0x12345678 << 32 | v) << 9 >> 32) & 0xFFFFFFFF,
        ),
        ("out[i] = __funnelshift_r(in0[i], 0x12345678u, 9);", lambda v: ((0x12345678 << 32 | v) >> 9) & 0xFFFFFFFF),
        ("out[i] = __umulhi(in0[i], 0xdeadbeefu);", lambda v: v * 0xDEADBEEF >> 32),
        (
            "out[i] = __dp4a(in0[i], 0x01020304u, 7u);",
            lambda v: 7 + sum((v >> 8 * j & 255) * (4 - j) for j in range(4)),
        ),
        ("out[i] = max(in0[i], 77u) - min(in0[i], 77u);", lambda v: abs(v - 77)),
    ],
)
def test_bit_operations(body, model):
    x = np.concatenate([[0, 1, 0xFFFFFFFF, 0x80000000], RNG.integers(0, 2**32, 2000)]).astype(np.uint32)
    got = run(body, np.zeros(x.size, np.uint32), x)
    if model is None:
        stream = np.concatenate([x[:, None].view(np.uint8), (~x)[:, None].view(np.uint8)], 1)
        expected = stream[:, [6, 4, 1, 5]].copy().view(np.uint32).ravel()
    else:
        expected = np.array([model(int(v)) for v in x], np.uint64).astype(np.uint32)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    ("name", "model"),
    [("rn", np.rint), ("rz", np.trunc), ("rd", np.floor), ("ru", np.ceil)],
)
def test_conversions_clamp_as_a_gpu_does(name, model):
    x = np.concatenate([AWKWARD, [2.5, -2.5, 3.5, 1e10, -1e10], RNG.standard_normal(1000) * 1e5]).astype(np.float32)
    got = run(f"out[i] = __float2int_{name}(in0[i]);", np.zeros(x.size, np.int32), x)
    with np.errstate(invalid="ignore"):
        expected = np.where(np.isnan(x), 0, np.clip(model(x.astype(np.float64)), -(2**31), 2**31 - 1)).astype(np.int32)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    ("expression", "model", "tolerance"),
    [
        ("__expf(in0[i])", np.exp, 4e-7),
        ("rsqrtf(fabsf(in0[i]))", lambda v: 1 / np.sqrt(np.abs(v)), 2e-7),
        ("__logf(fabsf(in0[i]))", lambda v: np.log(np.abs(v)), 4e-7),
        ("__fdividef(1.0f, in0[i])", lambda v: 1 / v, 2e-7),
        ("tanhf(in0[i])", np.tanh, 4e-7),
        ("erff(in0[i])", None, 4e-7),
        ("__fmaf_rn(in0[i], in0[i], 1.0f)", lambda v: v * v + 1, 1e-7),
        ("cospif(in0[i])", lambda v: np.cos(np.pi * v), 1e-6),
    ],
)
def test_single_precision_functions(expression, model, tolerance):
    x = RNG.uniform(-3, 3, 5000).astype(np.float32)
    got = run(f"out[i] = {expression};", np.zeros_like(x), x)
    if model is None:
        from math import erf

        expected = np.array([erf(float(v)) for v in x])
    else:
        expected = model(x.astype(np.float64))
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ["sincosf", "sincospif", "__sincosf"])
def test_checker_sees_what_a_function_writes_through_pointers(name):
    code = """
    extern "C" __global__ void turned(const float* x, float* out) {
      __shared__ float sines[32], cosines[32];
      FUNCTION(x[threadIdx.x], &sines[threadIdx.x], &cosines[threadIdx.x]);
      BARRIER
      out[threadIdx.x] = sines[31 - threadIdx.x] + 2 * cosines[31 - threadIdx.x];
    }""".replace("FUNCTION", name)
    x, out = np.linspace(-3, 3, 32, dtype=np.float32), np.zeros(32, np.float32)
    emulator.RawModule(code.replace("BARRIER", "__syncthreads();"), check=True).get_function("turned")(
        (1,), (32,), (x, out)
    )
    angles = x[::-1].astype(np.float64) * (np.pi if name == "sincospif" else 1)
    np.testing.assert_allclose(out, np.sin(angles) + 2 * np.cos(angles), atol=1e-6)
    with pytest.raises(emulator.CheckError, match=r"data race on shared `(sines|cosines)"):
        emulator.RawModule(code.replace("BARRIER", ""), check=True).get_function("turned")((1,), (32,), (x, out))


def test_vector_types_have_cudas_sizes_and_alignments():
    cases = {
        "float2": (8, 8),
        "float3": (12, 4),
        "float4": (16, 16),
        "uchar4": (4, 4),
        "ushort2": (4, 4),
        "double2": (16, 16),
        "int3": (12, 4),
    }
    body = " ".join(f"out[{2 * i}] = sizeof({t}); out[{2 * i + 1}] = alignof({t});" for i, t in enumerate(cases))
    got = np.zeros(2 * len(cases), np.int32)
    emulator.RawModule(f'extern "C" __global__ void k(int* out) {{ {body} }}').get_function("k")((1,), (1,), (got,))
    assert [tuple(pair) for pair in got.reshape(-1, 2)] == list(cases.values())
