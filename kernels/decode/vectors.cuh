// 16 bytes of weights, and their product with as many activations.
#pragma once
#include <cuda_bf16.h>

// bfloat16: the upper half of a float's bits, so that widening is a shift or a mask.
__device__ __forceinline__ float lower(unsigned pair) { return __uint_as_float(pair << 16); }
__device__ __forceinline__ float upper(unsigned pair) { return __uint_as_float(pair & 0xffff0000u); }

// int8, four in a word, with 128 added (so they are unsigned): 2^23 + n is a float whose lowest bits are n, and its other bits
// are constant. So one byte permutation makes it, and one subtraction leaves the number; a conversion instruction is four times
// as slow.
template <int BYTE>
__device__ __forceinline__ float small_integer(unsigned four) {
  constexpr unsigned LIFTED = 0x4b000000u;  // 2^23
  return __uint_as_float(__byte_perm(four, LIFTED, 0x7540 + BYTE)) - (8388608.0f + 128.0f);
}

// A kind of weight: how many come in 16 bytes, and the sum of their products with as many activations.
struct BFloat16 {
  using Element = __nv_bfloat16;
  static constexpr int EACH = 8;
  static constexpr bool SCALED = false;

  static __device__ __forceinline__ float dot(uint4 w, const float4 (&x)[2]) {
    float4 a = x[0], b = x[1];
    float even = lower(w.x) * a.x + lower(w.y) * a.z + lower(w.z) * b.x + lower(w.w) * b.z;
    float odd = upper(w.x) * a.y + upper(w.y) * a.w + upper(w.z) * b.y + upper(w.w) * b.w;
    return even + odd;
  }
};

struct Int8 {
  using Element = unsigned char;
  static constexpr int EACH = 16;
  static constexpr bool SCALED = true;  // each row has a scale of its own

  static __device__ __forceinline__ float dot4(unsigned w, float4 a) {
    return small_integer<0>(w) * a.x + small_integer<1>(w) * a.y + small_integer<2>(w) * a.z +
           small_integer<3>(w) * a.w;
  }
  static __device__ __forceinline__ float dot(uint4 w, const float4 (&x)[4]) {
    return dot4(w.x, x[0]) + dot4(w.y, x[1]) + (dot4(w.z, x[2]) + dot4(w.w, x[3]));
  }
};

#ifndef WEIGHT
#define WEIGHT BFloat16
#endif
using Weight = WEIGHT;

// A row's product, in the units of the weights before they were quantized.
__device__ __forceinline__ float scaled(float product, const float* scales, int row) {
  if constexpr (Weight::SCALED) return product * scales[row];
  return product;
}
