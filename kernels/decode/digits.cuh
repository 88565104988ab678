// Activations for int8 weights: a number as four int8 digits to the base 128, so that integer units can multiply it.
//
//   x = scale * (d0 / 2^6 + d1 / 2^13 + d2 / 2^20 + d3 / 2^27), -64 <= d <= 64
//
// The scale is a power of two above all numbers of a row, so what is rounded away is less than 2^-28 of the largest: less than float32
// would round of it. Products of digits and weights are whole numbers, and so are their sums: nothing else is rounded.
#pragma once
#include <math_constants.h>

constexpr int DIGITS = 4;

// The power of two above a number: divided by it, what is not larger is less than 1. NaN of what is infinite or NaN: digits cannot say
// that, so whatever is multiplied with the scale must.
__device__ __forceinline__ float power_above(float largest) {
  if (!(largest <= CUDART_MAX_NORMAL_F)) return CUDART_NAN_F;
  unsigned exponent = __float_as_uint(largest) & 0x7f800000u;
  return __uint_as_float(min(max(exponent, 8u << 23), 253u << 23) + (1u << 23));  // its inverse is no subnormal either
}

// What digit number `i` counts.
__device__ __forceinline__ float unit_of(int i) { return __uint_as_float((127 - 6 - 7 * i) << 23); }

// Four numbers' digits: word i has digit i of each.
__device__ __forceinline__ void take_apart(float4 v, float scale, unsigned (&digits)[DIGITS]) {
  float factor = 64.0f / scale;
  v = make_float4(v.x * factor, v.y * factor, v.z * factor, v.w * factor);
#pragma unroll
  for (unsigned& word : digits) {
    float4 d = make_float4(rintf(v.x), rintf(v.y), rintf(v.z), rintf(v.w));
    v = make_float4((v.x - d.x) * 128.0f, (v.y - d.y) * 128.0f, (v.z - d.z) * 128.0f, (v.w - d.w) * 128.0f);
    word = ((int)d.x & 255) | ((int)d.y & 255) << 8 | ((int)d.z & 255) << 16 | (unsigned)((int)d.w & 255) << 24;
  }
}

// Four int8 numbers of which each has 128 added, without it: that is the highest bit turned.
__device__ __forceinline__ unsigned signed8(unsigned four) { return four ^ 0x80808080u; }

#ifndef __CUDA_EMU__
// 16 × 32 numbers times 32 × 8, in a warp: PTX ISA, "Matrix fragments for mma.m16n8k32".
__device__ __forceinline__ void multiply_add(int (&sums)[4], unsigned a0, unsigned a1, unsigned a2, unsigned a3,
                                             unsigned b0, unsigned b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+r"(sums[0]), "+r"(sums[1]), "+r"(sums[2]), "+r"(sums[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}
#endif
