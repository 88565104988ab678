// Eight rows of a matrix times one vector, on tensor cores, with float32's accuracy.
//
// A tensor core multiplies 16-bit or 8-bit numbers, and adds up in 32 bits. Weights are such numbers already. An activation is not, so
// it is taken apart into numbers that are, and add up to it: bfloat16 weights meet three bfloat16 parts, 8 bits each of a float's 24;
// int8 weights meet four digits to the base 128 of a number with a common exponent, 27 bits. The parts are the rows of the other
// factor, so one instruction multiplies weights with all of them: `mma.sync` of 16 × 8 × 16 (bfloat16) or 16 × 8 × 32 (int8), PTX ISA,
// "Matrix fragments for mma". Of its 16 rows three or four are used; that is no loss, because memory is what a step waits for.
// What is won is everything else: no weight is widened, and no lane adds up.
//
//   lane = 4 · n + q      weights: row n, 16 bytes, the q-th of 64           parts: part n, the same columns, zeros if there is none
//   two instructions a lane's 16 bytes: columns may come in any order, as long as both factors have the same
#pragma once
#include "digits.cuh"
#include "vectors.cuh"

#ifndef CHAINS
#define CHAINS 4  // pairs of sums that do not wait for each other
#endif
constexpr int STEP_BYTES = 64;  // of a row, in two instructions

// How activations are taken apart, for a kind of weight.
template <class Kind>
struct Parts;

template <>
struct Parts<BFloat16> {
  static constexpr int COUNT = 3;
  static constexpr bool NEEDS_SCALE = false;
  static __device__ __forceinline__ float scale(float) { return 1.0f; }

  // Numbers 4 · i to 4 · i + 3 of each part; parts are `apart` bytes from each other.
  static __device__ __forceinline__ void store(float4 v, float, char* to, int i, int apart) {
#pragma unroll
    for (int part = 0; part < COUNT; part++) {
      __nv_bfloat16 four[4] = {__float2bfloat16(v.x), __float2bfloat16(v.y), __float2bfloat16(v.z),
                               __float2bfloat16(v.w)};
      *reinterpret_cast<uint2*>(to + part * apart + 8 * i) = *reinterpret_cast<const uint2*>(four);
      v = make_float4(v.x - __bfloat162float(four[0]), v.y - __bfloat162float(four[1]), v.z - __bfloat162float(four[2]),
                      v.w - __bfloat162float(four[3]));
    }
  }
};

template <>
struct Parts<Int8> {
  static constexpr int COUNT = DIGITS;
  static constexpr bool NEEDS_SCALE = true;

  static __device__ __forceinline__ float scale(float largest) { return power_above(largest); }
  static __device__ __forceinline__ void store(float4 v, float scale, char* to, int i, int apart) {
    unsigned digits[DIGITS];
    take_apart(v, scale, digits);
#pragma unroll
    for (int part = 0; part < COUNT; part++) *reinterpret_cast<unsigned*>(to + part * apart + 4 * i) = digits[part];
  }
};

// The sums of one tile's eight rows, over all lanes of a warp.
#ifdef __CUDA_EMU__

// Here a lane adds up its own columns of row lane / 4.
template <class Kind>
struct EightSums;

template <>
struct EightSums<BFloat16> {
  float sum = 0.0f;

  __device__ __forceinline__ void add(int, uint4 w, const char* parts, int apart) {
    const __nv_bfloat16* of_w = reinterpret_cast<const __nv_bfloat16*>(&w);
    for (int i = 0; i < 8; i++) {
      float x = 0.0f;
      for (int part = Parts<BFloat16>::COUNT - 1; part >= 0; part--) {
        x += __bfloat162float(reinterpret_cast<const __nv_bfloat16*>(parts + part * apart)[i]);
      }
      sum += __bfloat162float(of_w[i]) * x;
    }
  }
  __device__ __forceinline__ float of_row() const {
    float all = sum + __shfl_xor_sync(0xffffffffu, sum, 1);
    all += __shfl_xor_sync(0xffffffffu, all, 2);
    return __shfl_sync(0xffffffffu, all, threadIdx.x % 8 * 4);
  }
};

template <>
struct EightSums<Int8> {
  int sums[Parts<Int8>::COUNT] = {};

  __device__ __forceinline__ void add(int, uint4 w, const char* parts, int apart) {
    const unsigned char* of_w = reinterpret_cast<const unsigned char*>(&w);
    for (int part = 0; part < Parts<Int8>::COUNT; part++) {
      for (int i = 0; i < 16; i++) {
        sums[part] += (of_w[i] - 128) * reinterpret_cast<const signed char*>(parts + part * apart)[i];
      }
    }
  }
  __device__ __forceinline__ float of_row() const {
    float all = 0.0f;
    int part = 0;
    for (int sum : sums) {
      sum += __shfl_xor_sync(0xffffffffu, sum, 1);
      sum += __shfl_xor_sync(0xffffffffu, sum, 2);
      all += (float)sum * unit_of(part++);
    }
    return __shfl_sync(0xffffffffu, all, threadIdx.x % 8 * 4);
  }
};

#else

__device__ __forceinline__ void multiply_add(float (&sums)[4], unsigned a0, unsigned a2, unsigned b0, unsigned b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %5}, {%7, %8}, {%0, %1, %2, "
      "%3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a0), "r"(0), "r"(a2), "r"(b0), "r"(b1));
}
__device__ __forceinline__ void multiply_add(int (&sums)[4], unsigned a0, unsigned a2, unsigned b0, unsigned b1) {
  multiply_add(sums, a0, 0, a2, 0, b0, b1);
}

template <class Kind>
struct SumOf {
  using Type = float;
};
template <>
struct SumOf<Int8> {
  using Type = int;
};

// Lane 4 · n + q has part n's sums of rows 2 · q and 2 · q + 1.
template <class Kind>
struct EightSums {
  typename SumOf<Kind>::Type sums[2 * CHAINS][4] = {};

  // Args: which pair of sums, a constant where loops are unrolled; 16 bytes of weights; where part 0 has the same columns; bytes from
  // part to part.
  __device__ __forceinline__ void add(int chain, uint4 w, const char* parts, int apart) {
    int part = threadIdx.x % 32 / 4;
    uint4 x = make_uint4(0, 0, 0, 0);
    if (part < Parts<Kind>::COUNT) x = *reinterpret_cast<const uint4*>(parts + part * apart);
    if constexpr (Kind::SCALED) w = make_uint4(signed8(w.x), signed8(w.y), signed8(w.z), signed8(w.w));
    multiply_add(sums[2 * chain], x.x, x.y, w.x, w.y);
    multiply_add(sums[2 * chain + 1], x.z, x.w, w.z, w.w);
  }

  // The sum of row lane % 8, in units of the scale of the activations.
  __device__ __forceinline__ float of_row() const {
    int part = threadIdx.x % 32 / 4;
    float unit = 1.0f;
    if constexpr (Kind::SCALED) unit = unit_of(part);
    float even = 0.0f, odd = 0.0f;
#pragma unroll
    for (int chain = 0; chain < 2 * CHAINS; chain++) {
      even += (float)sums[chain][0];
      odd += (float)sums[chain][1];
    }
    even *= unit;
    odd *= unit;
#pragma unroll
    for (int distance = 4; distance < 16; distance *= 2) {  // there are four parts at most
      even += __shfl_xor_sync(0xffffffffu, even, distance);
      odd += __shfl_xor_sync(0xffffffffu, odd, distance);
    }
    even = __shfl_sync(0xffffffffu, even, threadIdx.x % 8 / 2);
    odd = __shfl_sync(0xffffffffu, odd, threadIdx.x % 8 / 2);
    return threadIdx.x % 2 ? odd : even;
  }
};

#endif
