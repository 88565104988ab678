// char2 … double4 and dim3, with CUDA's alignments: a 16-byte vector must lie at a multiple of 16.
#pragma once

#define EMU_VECTOR(T, NAME, ALIGN2, ALIGN4)                                \
  struct NAME##1 { T x; };                                                 \
  struct alignas(ALIGN2) NAME##2 { T x, y; };                              \
  struct NAME##3 { T x, y, z; };                                           \
  struct alignas(ALIGN4) NAME##4 { T x, y, z, w; };                        \
  EMU_FUNCTION NAME##1 make_##NAME##1(T x) { return {x}; }                 \
  EMU_FUNCTION NAME##2 make_##NAME##2(T x, T y) { return {x, y}; }         \
  EMU_FUNCTION NAME##3 make_##NAME##3(T x, T y, T z) { return {x, y, z}; } \
  EMU_FUNCTION NAME##4 make_##NAME##4(T x, T y, T z, T w) { return {x, y, z, w}; }

EMU_VECTOR(signed char, char, 2, 4)
EMU_VECTOR(unsigned char, uchar, 2, 4)
EMU_VECTOR(short, short, 4, 8)
EMU_VECTOR(unsigned short, ushort, 4, 8)
EMU_VECTOR(int, int, 8, 16)
EMU_VECTOR(unsigned, uint, 8, 16)
EMU_VECTOR(long, long, 16, 16)
EMU_VECTOR(unsigned long, ulong, 16, 16)
EMU_VECTOR(long long, longlong, 16, 16)
EMU_VECTOR(unsigned long long, ulonglong, 16, 16)
EMU_VECTOR(float, float, 8, 16)
EMU_VECTOR(double, double, 16, 16)
#undef EMU_VECTOR

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
