#pragma once
#include "emu/small_float.h"
typedef emu::Small<emu::HalfFormat> __half;
typedef emu::Pair<__half> __half2;
typedef emu::RawBits __half_raw;
typedef __half half;
typedef __half2 half2;
EMU_SMALL_FUNCTIONS(__half, __half2)

EMU_INLINE float __half2float(__half h) { return h.f(); }
EMU_INLINE __half __float2half(float f) { return __half(f); }
EMU_INLINE __half __float2half_rn(float f) { return __half(f); }
EMU_INLINE __half __double2half(double d) { return __half(d); }
EMU_INLINE __half __int2half_rn(int i) { return __half(i); }
EMU_INLINE __half __uint2half_rn(unsigned i) { return __half(i); }
EMU_INLINE int __half2int_rn(__half h) { return __float2int_rn(h.f()); }
EMU_INLINE int __half2int_rz(__half h) { return __float2int_rz(h.f()); }
EMU_INLINE unsigned short __half_as_ushort(__half h) { return h.x; }
EMU_INLINE __half __ushort_as_half(unsigned short bits) { return __half(emu::RawBits{bits}); }
EMU_INLINE __half2 __floats2half2_rn(float a, float b) { return __half2(__half(a), __half(b)); }
EMU_INLINE __half2 __float22half2_rn(float2 a) { return __floats2half2_rn(a.x, a.y); }
EMU_INLINE __half2 __float2half2_rn(float a) { return __floats2half2_rn(a, a); }
EMU_INLINE float2 __half22float2(__half2 a) { return {a.x.f(), a.y.f()}; }
EMU_INLINE __half2 __halves2half2(__half a, __half b) { return __half2(a, b); }
EMU_INLINE __half2 __half2half2(__half a) { return __half2(a, a); }
EMU_INLINE __half2 make_half2(__half a, __half b) { return __half2(a, b); }
EMU_INLINE __half __low2half(__half2 a) { return a.x; }
EMU_INLINE __half __high2half(__half2 a) { return a.y; }
EMU_INLINE __half2 __lowhigh2highlow(__half2 a) { return __half2(a.y, a.x); }
