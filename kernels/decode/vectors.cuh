// 16 bytes of weights, and their product with as many activations.
#pragma once
#include <cuda_bf16.h>

#include "digits.cuh"

// bfloat16: the upper half of a float's bits, so that widening is a shift or a mask.
__device__ __forceinline__ float lower(unsigned pair) { return __uint_as_float(pair << 16); }
__device__ __forceinline__ float upper(unsigned pair) { return __uint_as_float(pair & 0xffff0000u); }

// A kind of weight: how many come in 16 bytes, and how their products with activations add up.
//
// Activations lie in shared memory in PLANES: of each vector's 16 bytes of weights the first 16 bytes of activations, then all second
// ones, and so on. A warp reads neighbours then, which share no bank; side by side, every lane would skip some.
struct BFloat16 {
  using Element = __nv_bfloat16;
  static constexpr int EACH = 8, PLANES = 2;
  static constexpr bool SCALED = false;
  using Plane = float4;

  // Put activations 4 · i to 4 · i + 3 into their place.
  static __device__ __forceinline__ void store(float4 v, float, Plane* x, int i, int vectors) {
    x[i % PLANES * vectors + i / PLANES] = v;
  }

  static __device__ __forceinline__ float dot(uint4 w, const Plane (&x)[PLANES]) {
    float4 a = x[0], b = x[1];
    float even = lower(w.x) * a.x + lower(w.y) * a.z + lower(w.z) * b.x + lower(w.w) * b.z;
    float odd = upper(w.x) * a.y + upper(w.y) * a.w + upper(w.z) * b.y + upper(w.w) * b.w;
    return even + odd;
  }

  // A row's sum.
  struct Sum {
    float sum = 0.0f;
    __device__ __forceinline__ void add(uint4 w, const Plane (&x)[PLANES]) { sum += dot(w, x); }
    __device__ __forceinline__ float of_lane() const { return sum; }
  };
};

// int8, with 128 added. A plane has one digit of each of a vector's 16 activations (digits.cuh).
//
// To make a float of a weight and multiply it takes three instructions; tensor cores take weights as they are. A lane's 16 weights lie
// in the factor's column lane / 4 (two instructions of 32 × 8), and its own activations in the other factor's row lane / 4: one digit
// there, another eight rows below. So every column meets every row, and only where a column meets its own row is the product
// wanted. Seven of eight are thrown away; there is still time for all of them before the next weights arrive.
struct Int8 {
  using Element = unsigned char;
  static constexpr int EACH = 16, PLANES = DIGITS;
  static constexpr bool SCALED = true;  // each row has a scale of its own
  using Plane = uint4;

  static __device__ __forceinline__ void store(float4 v, float scale, Plane* x, int i, int vectors) {
    unsigned digits[DIGITS];
    take_apart(v, scale, digits);
#pragma unroll
    for (int digit = 0; digit < DIGITS; digit++) {
      reinterpret_cast<unsigned*>(x + digit * vectors + i / 4)[i % 4] = digits[digit];
    }
  }

#ifdef __CUDA_EMU__
  struct Sum {
    int sums[DIGITS] = {};
    __device__ __forceinline__ void add(uint4 w, const Plane (&x)[PLANES]) {
      for (int digit = 0; digit < DIGITS; digit++) {
        sums[digit] = __dp4a((int)signed8(w.x), (int)x[digit].x, sums[digit]);
        sums[digit] = __dp4a((int)signed8(w.y), (int)x[digit].y, sums[digit]);
        sums[digit] = __dp4a((int)signed8(w.z), (int)x[digit].z, sums[digit]);
        sums[digit] = __dp4a((int)signed8(w.w), (int)x[digit].w, sums[digit]);
      }
    }
    __device__ __forceinline__ float of_lane() const {
      float all = 0.0f;
      for (int digit = 0; digit < DIGITS; digit++) all += (float)sums[digit] * unit_of(digit);
      return all;
    }
  };
#else
  struct Sum {
    int sums[DIGITS / 2][4] = {};  // of two digits each

    // All lanes of a warp call it.
    __device__ __forceinline__ void add(uint4 w, const Plane (&x)[PLANES]) {
      unsigned of[4] = {signed8(w.x), signed8(w.y), signed8(w.z), signed8(w.w)};
#pragma unroll
      for (int pair = 0; pair < DIGITS / 2; pair++) {
        uint4 a = x[2 * pair], b = x[2 * pair + 1];
        multiply_add(sums[pair], a.x, b.x, a.y, b.y, of[0], of[1]);
        multiply_add(sums[pair], a.z, b.z, a.w, b.w, of[2], of[3]);
      }
    }

    // Lane 4 · n + q has row n's products with columns 2 · q and 2 · q + 1: where one of them is n, it counts.
    __device__ __forceinline__ float of_lane() const {
      int row = threadIdx.x % 32 / 4, odd = row % 2;
      float all = 0.0f;
#pragma unroll
      for (int pair = 0; pair < DIGITS / 2; pair++) {
        all += (float)(odd ? sums[pair][1] : sums[pair][0]) * unit_of(2 * pair);
        all += (float)(odd ? sums[pair][3] : sums[pair][2]) * unit_of(2 * pair + 1);
      }
      return row / 2 == threadIdx.x % 4 ? all : 0.0f;
    }
  };
#endif
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
