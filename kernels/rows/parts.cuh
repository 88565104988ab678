// Activations for tensor cores, which multiply 16-bit numbers: a float becomes PARTS of them that add up to it.
//
// One bfloat16 keeps 8 of a float's 24 bits, two keep 16: the product with bfloat16 weights is then exact to about 2^-17 of each
// term. One float16 keeps 11, two 22. The parts of all rows lie below each other, [PARTS, rows, columns], so that one matrix product
// reads the weights once for all of them; its results, [PARTS, rows, out], are added up by whoever reads them.
//
// An int8 weight goes into the product as the whole number that it is. Its row's scale comes afterwards, from whoever reads the
// product, with SCALED: the product of both would not fit 16 bits.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "../decode/chain.cuh"

#ifndef PART
#define PART __nv_bfloat16
#endif
#ifndef PARTS
#define PARTS 2
#endif
#ifndef SCALED
#define SCALED 0
#endif
using Part16 = PART;

__device__ __forceinline__ void narrow(float value, __nv_bfloat16* to) { *to = __float2bfloat16(value); }
__device__ __forceinline__ void narrow(float value, __half* to) { *to = __float2half(value); }
__device__ __forceinline__ float widen(__nv_bfloat16 value) { return __bfloat162float(value); }
__device__ __forceinline__ float widen(__half value) { return __half2float(value); }

// One number's parts: at `to`, and each next one `apart` further on.
__device__ __forceinline__ void store_parts(float value, Part16* to, size_t apart) {
#pragma unroll
  for (int part = 0; part < PARTS; part++) {
    Part16 rounded;
    narrow(value, &rounded);
    to[part * apart] = rounded;
    value -= widen(rounded);
  }
}

// Eight numbers' parts, 16 bytes each. What is in `values` is used up.
__device__ __forceinline__ void store_parts8(float (&values)[8], Part16* to, size_t apart) {
#pragma unroll
  for (int part = 0; part < PARTS; part++) {
    alignas(16) Part16 rounded[8];
#pragma unroll
    for (int i = 0; i < 8; i++) {
      narrow(values[i], &rounded[i]);
      values[i] -= widen(rounded[i]);
    }
    *reinterpret_cast<uint4*>(to + part * apart) = *reinterpret_cast<const uint4*>(rounded);
  }
}

// Eight numbers in a row: 32 bytes that begin at a multiple of 16.
__device__ __forceinline__ void load8(float (&to)[8], const float* from) {
#pragma unroll
  for (int n = 0; n < 2; n++) {
    float4 four = fresh(reinterpret_cast<const float4*>(from) + n);
    to[4 * n] = four.x;
    to[4 * n + 1] = four.y;
    to[4 * n + 2] = four.z;
    to[4 * n + 3] = four.w;
  }
}

// The sum of a product's parts, with its row's scale where weights have one.
template <int OF = PARTS>
__device__ __forceinline__ float sum_parts(const float* from, size_t apart, const float* scale) {
  float sum = fresh(from);
#pragma unroll
  for (int part = 1; part < OF; part++) sum += fresh(from + part * apart);
  return SCALED ? sum * *scale : sum;
}

// The same for eight numbers in a row.
template <int OF = PARTS>
__device__ __forceinline__ void sum_parts8(float (&sums)[8], const float* from, size_t apart, const float* scales) {
  float more[8];
  load8(sums, from);
#pragma unroll
  for (int part = 1; part < OF; part++) {
    load8(more, from + part * apart);
#pragma unroll
    for (int i = 0; i < 8; i++) sums[i] += more[i];
  }
  if (!SCALED) return;
  load8(more, scales);
#pragma unroll
  for (int i = 0; i < 8; i++) sums[i] *= more[i];
}
