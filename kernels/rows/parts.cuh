// Activations for tensor cores, which multiply 16-bit numbers: a float becomes PARTS of them that add up to it.
//
// One bfloat16 keeps 8 of a float's 24 bits, two keep 16: the product with bfloat16 weights is then exact to about 2^-17 of each
// term. One float16 keeps 11. The parts of all rows lie below each other, [PARTS, rows, columns], so that one matrix product
// reads the weights once for all of them; its results, [PARTS, rows, out], are added up by whoever reads them.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#ifndef PART
#define PART __nv_bfloat16
#endif
#ifndef PARTS
#define PARTS 2
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

// The sum of a product's parts.
__device__ __forceinline__ float sum_parts(const float* from, size_t apart) {
  float sum = from[0];
#pragma unroll
  for (int part = 1; part < PARTS; part++) sum += from[part * apart];
  return sum;
}
