// __half and __nv_bfloat16 as one template: every operation is computed in float32 and rounded once, to
// nearest even.
#pragma once
#include "emu/math.h"

#define EMU_SMALL inline __attribute__((always_inline))

namespace emu {

#ifdef __FLT16_MANT_DIG__
typedef _Float16 Float16;
#else
typedef __fp16 Float16;  // older clang: storage only, which is all that is needed
#endif
struct HalfFormat {
  static float to_float(uint16_t bits) {
    Float16 half;
    __builtin_memcpy(&half, &bits, sizeof half);
    return (float)half;
  }
  static uint16_t from_float(float x) {
    Float16 half = (Float16)x;
    uint16_t bits;
    __builtin_memcpy(&bits, &half, sizeof bits);
    return bits;
  }
};
struct Bfloat16Format {
  static float to_float(uint16_t bits) { return __uint_as_float((unsigned)bits << 16); }
  static uint16_t from_float(float x) {
    unsigned bits = __float_as_uint(x);
    return x != x ? 0x7fff : (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
  }
};

struct RawBits {
  unsigned short x;
};

// Operators are friends, not templates, so that mixing with float is as ambiguous here as under NVRTC.
template <class Format>
struct Small {
  unsigned short x;
  Small() = default;
  EMU_SMALL Small(RawBits raw) : x(raw.x) {}
  EMU_SMALL Small(float f) : x(Format::from_float(f)) {}
  EMU_SMALL Small(double f) : x(Format::from_float((float)f)) {}
  EMU_SMALL Small(int i) : x(Format::from_float((float)i)) {}
  EMU_SMALL Small(unsigned i) : x(Format::from_float((float)i)) {}
  EMU_SMALL Small(long long i) : x(Format::from_float((float)i)) {}
  EMU_SMALL Small(unsigned long long i) : x(Format::from_float((float)i)) {}
  EMU_SMALL operator float() const { return Format::to_float(x); }
  EMU_SMALL float f() const { return Format::to_float(x); }

  friend EMU_SMALL Small operator+(Small a, Small b) { return Small(a.f() + b.f()); }
  friend EMU_SMALL Small operator-(Small a, Small b) { return Small(a.f() - b.f()); }
  friend EMU_SMALL Small operator*(Small a, Small b) { return Small(a.f() * b.f()); }
  friend EMU_SMALL Small operator/(Small a, Small b) { return Small(a.f() / b.f()); }
  friend EMU_SMALL Small operator-(Small a) {
    a.x ^= 0x8000;
    return a;
  }
  friend EMU_SMALL Small& operator+=(Small& a, Small b) { return a = a + b; }
  friend EMU_SMALL Small& operator-=(Small& a, Small b) { return a = a - b; }
  friend EMU_SMALL Small& operator*=(Small& a, Small b) { return a = a * b; }
  friend EMU_SMALL Small& operator/=(Small& a, Small b) { return a = a / b; }
  friend EMU_SMALL bool operator<(Small a, Small b) { return a.f() < b.f(); }
  friend EMU_SMALL bool operator>(Small a, Small b) { return a.f() > b.f(); }
  friend EMU_SMALL bool operator<=(Small a, Small b) { return a.f() <= b.f(); }
  friend EMU_SMALL bool operator>=(Small a, Small b) { return a.f() >= b.f(); }
  friend EMU_SMALL bool operator==(Small a, Small b) { return a.f() == b.f(); }
  friend EMU_SMALL bool operator!=(Small a, Small b) { return a.f() != b.f(); }
};

template <class T>
struct alignas(4) Pair {
  T x, y;
  Pair() = default;
  EMU_SMALL Pair(T x, T y) : x(x), y(y) {}
  friend EMU_SMALL Pair operator+(Pair a, Pair b) { return Pair(a.x + b.x, a.y + b.y); }
  friend EMU_SMALL Pair operator-(Pair a, Pair b) { return Pair(a.x - b.x, a.y - b.y); }
  friend EMU_SMALL Pair operator*(Pair a, Pair b) { return Pair(a.x * b.x, a.y * b.y); }
  friend EMU_SMALL Pair operator/(Pair a, Pair b) { return Pair(a.x / b.x, a.y / b.y); }
  friend EMU_SMALL Pair operator-(Pair a) { return Pair(-a.x, -a.y); }
};

}  // namespace emu

// The functions that both types have, under the same names.
#define EMU_SMALL_FUNCTIONS(T, T2)                                                                     \
  EMU_INLINE T __hadd(T a, T b) { return a + b; }                                                      \
  EMU_INLINE T __hsub(T a, T b) { return a - b; }                                                      \
  EMU_INLINE T __hmul(T a, T b) { return a * b; }                                                      \
  EMU_INLINE T __hdiv(T a, T b) { return a / b; }                                                      \
  EMU_INLINE T __hneg(T a) { return -a; }                                                              \
  EMU_INLINE T __habs(T a) {                                                                           \
    a.x &= 0x7fff;                                                                                     \
    return a;                                                                                          \
  }                                                                                                    \
  EMU_INLINE T __hfma(T a, T b, T c) { return T(fmaf(a.f(), b.f(), c.f())); }                          \
  EMU_INLINE T __hmax(T a, T b) { return T(fmaxf(a.f(), b.f())); }                                     \
  EMU_INLINE T __hmin(T a, T b) { return T(fminf(a.f(), b.f())); }                                     \
  EMU_INLINE bool __hlt(T a, T b) { return a < b; }                                                    \
  EMU_INLINE bool __hle(T a, T b) { return a <= b; }                                                   \
  EMU_INLINE bool __hgt(T a, T b) { return a > b; }                                                    \
  EMU_INLINE bool __hge(T a, T b) { return a >= b; }                                                   \
  EMU_INLINE bool __heq(T a, T b) { return a == b; }                                                   \
  EMU_INLINE bool __hne(T a, T b) { return a != b; }                                                   \
  EMU_INLINE bool __hisnan(T a) { return a != a; }                                                     \
  EMU_INLINE int __hisinf(T a) { return fabsf(a.f()) == INFINITY ? (a.f() > 0 ? 1 : -1) : 0; }         \
  EMU_INLINE T hexp(T a) { return T(expf(a.f())); }                                                    \
  EMU_INLINE T hexp2(T a) { return T(exp2f(a.f())); }                                                  \
  EMU_INLINE T hlog(T a) { return T(logf(a.f())); }                                                    \
  EMU_INLINE T hlog2(T a) { return T(log2f(a.f())); }                                                  \
  EMU_INLINE T hsqrt(T a) { return T(sqrtf(a.f())); }                                                  \
  EMU_INLINE T hrsqrt(T a) { return T(rsqrtf(a.f())); }                                                \
  EMU_INLINE T hrcp(T a) { return T(1.0f / a.f()); }                                                   \
  EMU_INLINE T hsin(T a) { return T(sinf(a.f())); }                                                    \
  EMU_INLINE T hcos(T a) { return T(cosf(a.f())); }                                                    \
  EMU_INLINE T htanh(T a) { return T(tanhf(a.f())); }                                                  \
  EMU_INLINE T2 __hadd2(T2 a, T2 b) { return a + b; }                                                  \
  EMU_INLINE T2 __hsub2(T2 a, T2 b) { return a - b; }                                                  \
  EMU_INLINE T2 __hmul2(T2 a, T2 b) { return a * b; }                                                  \
  EMU_INLINE T2 __h2div(T2 a, T2 b) { return a / b; }                                                  \
  EMU_INLINE T2 __hneg2(T2 a) { return -a; }                                                           \
  EMU_INLINE T2 __habs2(T2 a) { return T2(__habs(a.x), __habs(a.y)); }                                 \
  EMU_INLINE T2 __hfma2(T2 a, T2 b, T2 c) { return T2(__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)); } \
  EMU_INLINE T2 __hmax2(T2 a, T2 b) { return T2(__hmax(a.x, b.x), __hmax(a.y, b.y)); }                 \
  EMU_INLINE T2 __hmin2(T2 a, T2 b) { return T2(__hmin(a.x, b.x), __hmin(a.y, b.y)); }                 \
  EMU_INLINE T2 h2exp(T2 a) { return T2(hexp(a.x), hexp(a.y)); }                                       \
  EMU_INLINE T2 h2exp2(T2 a) { return T2(hexp2(a.x), hexp2(a.y)); }                                    \
  EMU_INLINE float __low2float(T2 a) { return a.x.f(); }                                               \
  EMU_INLINE float __high2float(T2 a) { return a.y.f(); }
