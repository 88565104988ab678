#pragma once
#include "emu/small_float.h"
typedef emu::Small<emu::Bfloat16Format> __nv_bfloat16;
typedef emu::Pair<__nv_bfloat16> __nv_bfloat162;
typedef emu::RawBits __nv_bfloat16_raw;
typedef __nv_bfloat16 nv_bfloat16;
typedef __nv_bfloat162 nv_bfloat162;
EMU_SMALL_FUNCTIONS(__nv_bfloat16, __nv_bfloat162)

EMU_INLINE float __bfloat162float(__nv_bfloat16 h) { return h.f(); }
EMU_INLINE __nv_bfloat16 __float2bfloat16(float f) { return __nv_bfloat16(f); }
EMU_INLINE __nv_bfloat16 __float2bfloat16_rn(float f) { return __nv_bfloat16(f); }
EMU_INLINE __nv_bfloat16 __double2bfloat16(double d) { return __nv_bfloat16(d); }
EMU_INLINE __nv_bfloat16 __int2bfloat16_rn(int i) { return __nv_bfloat16(i); }
EMU_INLINE int __bfloat162int_rn(__nv_bfloat16 h) { return __float2int_rn(h.f()); }
EMU_INLINE unsigned short __bfloat16_as_ushort(__nv_bfloat16 h) { return h.x; }
EMU_INLINE __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits) { return __nv_bfloat16(emu::RawBits{bits}); }
EMU_INLINE __nv_bfloat162 __floats2bfloat162_rn(float a, float b) {
  return __nv_bfloat162(__nv_bfloat16(a), __nv_bfloat16(b));
}
EMU_INLINE __nv_bfloat162 __float22bfloat162_rn(float2 a) { return __floats2bfloat162_rn(a.x, a.y); }
EMU_INLINE __nv_bfloat162 __float2bfloat162_rn(float a) { return __floats2bfloat162_rn(a, a); }
EMU_INLINE float2 __bfloat1622float2(__nv_bfloat162 a) { return {a.x.f(), a.y.f()}; }
EMU_INLINE __nv_bfloat162 __halves2bfloat162(__nv_bfloat16 a, __nv_bfloat16 b) { return __nv_bfloat162(a, b); }
EMU_INLINE __nv_bfloat162 __bfloat162bfloat162(__nv_bfloat16 a) { return __nv_bfloat162(a, a); }
EMU_INLINE __nv_bfloat162 make_bfloat162(__nv_bfloat16 a, __nv_bfloat16 b) { return __nv_bfloat162(a, b); }
EMU_INLINE __nv_bfloat16 __low2bfloat16(__nv_bfloat162 a) { return a.x; }
EMU_INLINE __nv_bfloat16 __high2bfloat16(__nv_bfloat162 a) { return a.y; }
EMU_INLINE __nv_bfloat162 __lowhigh2highlow(__nv_bfloat162 a) { return __nv_bfloat162(a.y, a.x); }
