// Single-precision intrinsics, bit operations, conversions and cache-hinted loads.
#pragma once
#include "emu/collectives.h"

// glibc has functions of these names, hidden or (from 2.41 on, for C23) with the wrong kind of linkage for an overload.
#define rsqrt emu_rsqrt
#define rsqrtf emu_rsqrtf
#define sinpif emu_sinpif
#define cospif emu_cospif
#define sincospif emu_sincospif
#define sincosf emu_sincosf  // here, the checker sees what they write
#define sincos emu_sincos
#define __expf emu_fast_expf
#define __logf emu_fast_logf
#define __log2f emu_fast_log2f
#define __log10f emu_fast_log10f
#define __powf emu_fast_powf
#define __sinf emu_fast_sinf
#define __cosf emu_fast_cosf
#define __tanf emu_fast_tanf
#define __exp10f emu_fast_exp10f
#define __tanhf emu_fast_tanhf
#define __sincosf emu_fast_sincosf

// The fast intrinsics are the accurate functions here: a kernel must hold its error budget with either.
EMU_FUNCTION float __expf(float x) { return expf(x); }
EMU_FUNCTION float __exp10f(float x) { return powf(10.0f, x); }
EMU_FUNCTION float __logf(float x) { return logf(x); }
EMU_FUNCTION float __log2f(float x) { return log2f(x); }
EMU_FUNCTION float __log10f(float x) { return log10f(x); }
EMU_FUNCTION float __powf(float x, float y) { return powf(x, y); }
EMU_FUNCTION float __sinf(float x) { return sinf(x); }
EMU_FUNCTION float __cosf(float x) { return cosf(x); }
EMU_FUNCTION float __tanf(float x) { return tanf(x); }
EMU_FUNCTION void __sincosf(float x, float* s, float* c) { *s = sinf(x), *c = cosf(x); }
EMU_FUNCTION float __fdividef(float a, float b) { return a / b; }
EMU_FUNCTION float __saturatef(float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }
EMU_FUNCTION float __tanhf(float x) { return tanhf(x); }

EMU_FUNCTION float rsqrtf(float x) { return 1.0f / sqrtf(x); }
EMU_FUNCTION double rsqrt(double x) { return 1.0 / sqrt(x); }
EMU_FUNCTION float rsqrt(float x) { return rsqrtf(x); }
EMU_FUNCTION float sinpif(float x) { return (float)sin(3.14159265358979323846 * fmod(x, 2.0)); }
EMU_FUNCTION float cospif(float x) { return (float)cos(3.14159265358979323846 * fmod(x, 2.0)); }
EMU_FUNCTION void sincospif(float x, float* s, float* c) { *s = sinpif(x), *c = cospif(x); }
EMU_FUNCTION void sincosf(float x, float* s, float* c) { *s = sinf(x), *c = cosf(x); }
EMU_FUNCTION void sincos(double x, double* s, double* c) { *s = sin(x), *c = cos(x); }
EMU_FUNCTION float normcdff(float x) { return (float)(0.5 * erfc(-x * 0.70710678118654752440)); }
EMU_FUNCTION float fdividef(float a, float b) { return a / b; }

// Rounded on their own: never fused into a multiply-add, which is what kernels use them for.
EMU_FUNCTION float __fadd_rn(float a, float b) {
  volatile float r = a + b;
  return r;
}
EMU_FUNCTION float __fsub_rn(float a, float b) {
  volatile float r = a - b;
  return r;
}
EMU_FUNCTION float __fmul_rn(float a, float b) {
  volatile float r = a * b;
  return r;
}
EMU_FUNCTION float __fdiv_rn(float a, float b) { return a / b; }
EMU_FUNCTION float __frcp_rn(float a) { return 1.0f / a; }
EMU_FUNCTION float __fsqrt_rn(float a) { return sqrtf(a); }
EMU_FUNCTION float __frsqrt_rn(float a) { return (float)(1.0 / sqrt((double)a)); }
EMU_FUNCTION float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }

EMU_FUNCTION unsigned __float_as_uint(float x) { return emu::from_bits<unsigned>(emu::to_bits(x)); }
EMU_FUNCTION int __float_as_int(float x) { return emu::from_bits<int>(emu::to_bits(x)); }
EMU_FUNCTION float __uint_as_float(unsigned x) { return emu::from_bits<float>(x); }
EMU_FUNCTION float __int_as_float(int x) { return emu::from_bits<float>((unsigned)x); }
EMU_FUNCTION long long __double_as_longlong(double x) { return emu::from_bits<long long>(emu::to_bits(x)); }
EMU_FUNCTION double __longlong_as_double(long long x) { return emu::from_bits<double>((uint64_t)x); }

namespace emu {
// A GPU clamps out-of-range values and turns NaN into 0 where C++ leaves the result undefined.
template <class I>
EMU_FUNCTION I to_integer(float x) {
  const double low = (double)(I)((I)-1 < 0 ? (I)1 << (sizeof(I) * 8 - 1) : 0);
  const double high = (double)(I) ~(I)low;
  return x != x ? 0 : x <= low ? (I)low : x >= high ? (I) ~(I)low : (I)x;
}
}  // namespace emu
EMU_FUNCTION int __float2int_rn(float x) { return emu::to_integer<int>(rintf(x)); }
EMU_FUNCTION int __float2int_rz(float x) { return emu::to_integer<int>(truncf(x)); }
EMU_FUNCTION int __float2int_rd(float x) { return emu::to_integer<int>(floorf(x)); }
EMU_FUNCTION int __float2int_ru(float x) { return emu::to_integer<int>(ceilf(x)); }
EMU_FUNCTION unsigned __float2uint_rn(float x) { return emu::to_integer<unsigned>(rintf(x)); }
EMU_FUNCTION unsigned __float2uint_rz(float x) { return emu::to_integer<unsigned>(truncf(x)); }
EMU_FUNCTION float __int2float_rn(int x) { return (float)x; }
EMU_FUNCTION float __uint2float_rn(unsigned x) { return (float)x; }

EMU_FUNCTION int __popc(unsigned x) { return __builtin_popcount(x); }
EMU_FUNCTION int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
EMU_FUNCTION int __clz(int x) { return x ? __builtin_clz(x) : 32; }
EMU_FUNCTION int __clzll(long long x) { return x ? __builtin_clzll(x) : 64; }
EMU_FUNCTION int __ffs(int x) { return __builtin_ffs(x); }
EMU_FUNCTION int __ffsll(long long x) { return __builtin_ffsll(x); }
EMU_FUNCTION unsigned __brev(unsigned x) {
  unsigned reversed = 0;
  for (int i = 0; i < 32; i++) reversed |= (x >> i & 1) << (31 - i);
  return reversed;
}
EMU_FUNCTION int __mul24(int a, int b) { return a * b; }
EMU_FUNCTION int __mulhi(int a, int b) { return (int)((long long)a * b >> 32); }
EMU_FUNCTION unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((unsigned long long)a * b >> 32); }
EMU_FUNCTION unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return (unsigned long long)((unsigned __int128)a * b >> 64);
}
EMU_FUNCTION unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
  uint64_t bytes = (uint64_t)b << 32 | a;
  unsigned result = 0;
  for (int i = 0; i < 4; i++) result |= (unsigned)(bytes >> 8 * (selector >> 4 * i & 7) & 255) << 8 * i;
  return result;
}
EMU_FUNCTION unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
  return (unsigned)(((uint64_t)high << 32 | low) << (shift & 31) >> 32);
}
EMU_FUNCTION unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  return (unsigned)(((uint64_t)high << 32 | low) >> (shift & 31));
}
EMU_FUNCTION int __dp4a(int a, int b, int sum) {
  for (int i = 0; i < 4; i++) sum += (int8_t)(a >> 8 * i) * (int8_t)(b >> 8 * i);
  return sum;
}
EMU_FUNCTION unsigned __dp4a(unsigned a, unsigned b, unsigned sum) {
  for (int i = 0; i < 4; i++) sum += (uint8_t)(a >> 8 * i) * (uint8_t)(b >> 8 * i);
  return sum;
}

// Always inlined, so that the checker counts the access on the kernel's line.
#define EMU_LOAD(NAME)                  \
  template <class T>                    \
  EMU_INLINE T NAME(const T* address) { \
    return *address;                    \
  }
// clang-format off
EMU_LOAD(__ldg) EMU_LOAD(__ldcs) EMU_LOAD(__ldca) EMU_LOAD(__ldcg) EMU_LOAD(__ldlu) EMU_LOAD(__ldcv)
// clang-format on
#undef EMU_LOAD
#define EMU_STORE(NAME)                       \
  template <class T, class V>                 \
  EMU_INLINE void NAME(T* address, V value) { \
    *address = value;                         \
  }
    // clang-format off
EMU_STORE(__stcs) EMU_STORE(__stcg) EMU_STORE(__stwt) EMU_STORE(__stwb)
// clang-format on
#undef EMU_STORE

    // CUDA overloads `min` and `max` for every pair of arithmetic types.
    template <class A, class B>
    EMU_INLINE constexpr auto max(A a, B b) -> decltype(a + b) {
  typedef decltype(a + b) T;
  return (T)a > (T)b ? (T)a : (T)b;
}
template <class A, class B>
EMU_INLINE constexpr auto min(A a, B b) -> decltype(a + b) {
  typedef decltype(a + b) T;
  return (T)a < (T)b ? (T)a : (T)b;
}
EMU_INLINE float max(float a, float b) { return fmaxf(a, b); }  // a NaN loses, as on the GPU
EMU_INLINE float min(float a, float b) { return fminf(a, b); }

#ifndef INFINITY
#define INFINITY __builtin_inff()
#endif
