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
  return __uint_as_float(min(max(exponent, 29u << 23), 253u << 23) + (1u << 23));  // 2^27 / scale is finite too
}

// What digit number `i` counts.
__device__ __forceinline__ float unit_of(int i) { return __uint_as_float((127 - 6 - 7 * i) << 23); }

// Four numbers' digits: word i has digit i of each.
__device__ __forceinline__ void take_apart(float4 v, float scale, unsigned (&digits)[DIGITS]) {
  constexpr int HALF = 64 * (1 + 128 + 128 * 128);  // so that what is below a digit is no less than 0
  float factor = __uint_as_float(((127u + 127u + 27u) << 23) - __float_as_uint(scale));  // 2^27 / scale
  int n[4] = {__float2int_rn(v.x * factor) + HALF, __float2int_rn(v.y * factor) + HALF,
              __float2int_rn(v.z * factor) + HALF, __float2int_rn(v.w * factor) + HALF};
#pragma unroll
  for (int i = 0; i < DIGITS; i++) {
    int down = 7 * (DIGITS - 1 - i);
    unsigned first = __byte_perm(n[0] >> down, n[1] >> down, 0x0040),
             last = __byte_perm(n[2] >> down, n[3] >> down, 0x0040);
    unsigned four = __byte_perm(first, last, 0x5410);
    // Below the first digit: seven bits, and 64 less of each, without a borrow from byte to byte.
    digits[i] = i == 0 ? four : (((four & 0x7f7f7f7fu) | 0x80808080u) - 0x40404040u) ^ 0x80808080u;
  }
}
