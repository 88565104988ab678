// E4M3 and E5M2 (OCP 8-bit floating point): stored in a byte, computed in float32 by the kernel.
#pragma once
#include "cuda_bf16.h"
#include "cuda_fp16.h"

typedef unsigned char __nv_fp8_storage_t;
typedef unsigned short __nv_fp8x2_storage_t;
typedef unsigned int __nv_fp8x4_storage_t;
enum __nv_saturation_t { __NV_NOSAT, __NV_SATFINITE };
enum __nv_fp8_interpretation_t { __NV_E4M3, __NV_E5M2 };

namespace emu {

template <int mantissa_bits>
struct Fp8 {
  enum { bias = mantissa_bits == 3 ? 7 : 15, nan = 0x7f, largest = mantissa_bits == 3 ? 0x7e : 0x7b, infinity = 0x7c };
  static constexpr float largest_value = mantissa_bits == 3 ? 448.0f : 57344.0f;

  static float to_float(uint8_t bits) {
    int magnitude = bits & 0x7f, exponent = magnitude >> mantissa_bits,
        fraction = magnitude & ((1 << mantissa_bits) - 1);
    float value;
    if (mantissa_bits == 3 ? magnitude == nan : magnitude > infinity) {
      value = __builtin_nanf("");
    } else if (mantissa_bits == 2 && magnitude == infinity) {
      value = INFINITY;
    } else if (exponent == 0) {
      value = ldexpf((float)fraction, 1 - bias - mantissa_bits);
    } else {
      value = ldexpf((float)(fraction | 1 << mantissa_bits), exponent - bias - mantissa_bits);
    }
    return bits & 0x80 ? -value : value;
  }

  // Round to nearest even; what is too large saturates, or becomes infinity (E5M2) or NaN (E4M3).
  static uint8_t from_float(float x, bool saturate) {
    uint8_t sign = __float_as_uint(x) >> 24 & 0x80;
    float size = fabsf(x);
    if (x != x) return sign | nan;
    uint8_t overflow = saturate ? largest : mantissa_bits == 3 ? nan : infinity;
    if (size == INFINITY) return sign | overflow;
    int exponent = 1 - bias;
    if (size >= ldexpf(1.0f, exponent)) exponent = ilogbf(size);
    long steps = lrintf(ldexpf(size, mantissa_bits - exponent));
    float rounded = ldexpf((float)steps, exponent - mantissa_bits);
    if (rounded > largest_value) return sign | overflow;
    if (rounded < ldexpf(1.0f, 1 - bias)) return sign | (uint8_t)steps;
    exponent = ilogbf(rounded);
    long fraction = lrintf(ldexpf(rounded, mantissa_bits - exponent)) - (1 << mantissa_bits);
    return sign | (uint8_t)((exponent + bias) << mantissa_bits | fraction);
  }
};

}  // namespace emu

EMU_FUNCTION __nv_fp8_storage_t __nv_cvt_float_to_fp8(float x, __nv_saturation_t saturate,
                                                      __nv_fp8_interpretation_t as) {
  return as == __NV_E4M3 ? emu::Fp8<3>::from_float(x, saturate) : emu::Fp8<2>::from_float(x, saturate);
}
EMU_FUNCTION __half_raw __nv_cvt_fp8_to_halfraw(__nv_fp8_storage_t x, __nv_fp8_interpretation_t as) {
  return {__half(as == __NV_E4M3 ? emu::Fp8<3>::to_float(x) : emu::Fp8<2>::to_float(x)).x};
}

#define EMU_FP8(NAME, NAME_X2, NAME_X4, MANTISSA)                                                          \
  struct NAME {                                                                                            \
    __nv_fp8_storage_t __x;                                                                                \
    NAME() = default;                                                                                      \
    explicit NAME(float f) : __x(emu::Fp8<MANTISSA>::from_float(f, true)) {}                               \
    explicit NAME(double d) : NAME((float)d) {}                                                            \
    explicit NAME(__half h) : NAME(h.f()) {}                                                               \
    explicit NAME(__nv_bfloat16 h) : NAME(h.f()) {}                                                        \
    explicit operator float() const { return emu::Fp8<MANTISSA>::to_float(__x); }                          \
    explicit operator __half() const { return __half(emu::Fp8<MANTISSA>::to_float(__x)); }                 \
    explicit operator __nv_bfloat16() const { return __nv_bfloat16(emu::Fp8<MANTISSA>::to_float(__x)); }   \
  };                                                                                                       \
  struct NAME_X2 {                                                                                         \
    __nv_fp8x2_storage_t __x;                                                                              \
    NAME_X2() = default;                                                                                   \
    explicit NAME_X2(float2 f) : __x((__nv_fp8x2_storage_t)(NAME(f.x).__x | NAME(f.y).__x << 8)) {}        \
    explicit operator float2() const {                                                                     \
      return {emu::Fp8<MANTISSA>::to_float(__x & 255), emu::Fp8<MANTISSA>::to_float(__x >> 8)};            \
    }                                                                                                      \
  };                                                                                                       \
  struct NAME_X4 {                                                                                         \
    __nv_fp8x4_storage_t __x;                                                                              \
    NAME_X4() = default;                                                                                   \
    explicit NAME_X4(float4 f)                                                                             \
        : __x(NAME(f.x).__x | NAME(f.y).__x << 8 | NAME(f.z).__x << 16 | (unsigned)NAME(f.w).__x << 24) {} \
    explicit operator float4() const {                                                                     \
      return {emu::Fp8<MANTISSA>::to_float(__x & 255), emu::Fp8<MANTISSA>::to_float(__x >> 8 & 255),       \
              emu::Fp8<MANTISSA>::to_float(__x >> 16 & 255), emu::Fp8<MANTISSA>::to_float(__x >> 24)};     \
    }                                                                                                      \
  };
EMU_FP8(__nv_fp8_e4m3, __nv_fp8x2_e4m3, __nv_fp8x4_e4m3, 3)
EMU_FP8(__nv_fp8_e5m2, __nv_fp8x2_e5m2, __nv_fp8x4_e5m2, 2)
#undef EMU_FP8
