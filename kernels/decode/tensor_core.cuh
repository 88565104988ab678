// Eight rows of a matrix times one vector, on tensor cores, with float32's accuracy.
//
// A tensor core multiplies 16-bit or 8-bit numbers, and adds up in 32 bits. Weights are such numbers already. An activation is not, so
// it is taken apart into numbers that are, and add up to it: bfloat16 weights meet three bfloat16 parts, 8 bits each of a float's 24;
// int8 weights meet four digits to the base 128 of a number with a common exponent, 27 bits. One instruction multiplies 16 rows with
// eight columns: `mma.sync` of 16 × 8 × 16 (bfloat16) or 16 × 8 × 32 (int8), PTX ISA, "Matrix fragments for mma". Here the first eight
// rows and the last are the same rows of the matrix, the even words of a step and its odd words, and each half has its own columns:
//
//                             the parts of even words │ of odd words
//   rows 0 … 7, even words             sums           │     –             – is computed, and not used
//   rows 0 … 7, odd words               –             │    sums
//
// Half of the products are for nothing; that is no loss, because memory is what a step waits for. What is won is everything else: no
// weight is widened, no lane adds up, and one load of a lane's 16 bytes is the whole factor of an instruction.
//
//   lane = 4 · n + q      weights: row n, 16 bytes, the q-th of a step's 64, four words        activations: column n, the same words
#pragma once
#include "digits.cuh"
#include "vectors.cuh"

#ifndef CHAINS
#define CHAINS 4  // sums that do not wait for each other
#endif
constexpr int STEP_BYTES = 64;    // of a row, in one instruction
constexpr int STEP_VECTORS = 32;  // of eight rows, 16 bytes each

// How activations are taken apart, for a kind of weight, and where in shared memory they lie: 32-bit words, as lanes load them.
//
//   COUNT        parts of a number
//   HALF_WORDS   from the parts of a step's even words to those of its odd words
//   STEP_WORDS   from step to step; what neighbours store lies in different banks
template <class Kind>
struct Parts;

// Where a part of word number `word` of a row lies.
template <class Kind>
__device__ __forceinline__ int place_of(int part, unsigned word) {
  return word / 16 * Parts<Kind>::STEP_WORDS + word % 2 * Parts<Kind>::HALF_WORDS + part * 8 + word / 4 % 4 * 2 +
         word / 2 % 2;
}

template <>
struct Parts<BFloat16> {
  static constexpr int COUNT = 3, HALF_WORDS = 24, STEP_WORDS = 56;
  static constexpr bool NEEDS_SCALE = false;
  static __device__ __forceinline__ float scale(float) { return 1.0f; }

  // Numbers 4 · i to 4 · i + 3 of a row.
  static __device__ __forceinline__ void store(float4 v, float, unsigned* to, int i) {
#pragma unroll
    for (int part = 0; part < COUNT; part++) {
      __nv_bfloat16 four[4] = {__float2bfloat16(v.x), __float2bfloat16(v.y), __float2bfloat16(v.z),
                               __float2bfloat16(v.w)};
      uint2 words = *reinterpret_cast<const uint2*>(four);
      to[place_of<BFloat16>(part, 2 * i)] = words.x;
      to[place_of<BFloat16>(part, 2 * i + 1)] = words.y;
      v = make_float4(v.x - __bfloat162float(four[0]), v.y - __bfloat162float(four[1]), v.z - __bfloat162float(four[2]),
                      v.w - __bfloat162float(four[3]));
    }
  }
};

template <>
struct Parts<Int8> {
  static constexpr int COUNT = DIGITS, HALF_WORDS = 40, STEP_WORDS = 80;
  static constexpr bool NEEDS_SCALE = true;

  static __device__ __forceinline__ float scale(float largest) { return power_above(largest); }
  static __device__ __forceinline__ void store(float4 v, float scale, unsigned* to, int i) {
    unsigned digits[DIGITS];
    take_apart(v, scale, digits);
#pragma unroll
    for (int part = 0; part < COUNT; part++) to[place_of<Int8>(part, i)] = digits[part];
  }
};

// Over the four lanes of a row.
__device__ __forceinline__ float over_row(float sum) {
  sum += __shfl_xor_sync(0xffffffffu, sum, 1);
  return sum + __shfl_xor_sync(0xffffffffu, sum, 2);
}

// The sums of one tile's eight rows, over all lanes of a warp.
#ifdef __CUDA_EMU__

// Here a lane adds up its own columns of row lane / 4.
template <class Kind>
struct EightSums;

template <>
struct EightSums<BFloat16> {
  float sum = 0.0f;

  __device__ __forceinline__ void add(int, uint4 w, const unsigned* step) {
    const __nv_bfloat16* of_w = reinterpret_cast<const __nv_bfloat16*>(&w);
    for (int i = 0; i < 8; i++) {
      float x = 0.0f;
      for (int part = Parts<BFloat16>::COUNT - 1; part >= 0; part--) {
        unsigned pair = step[place_of<BFloat16>(part, threadIdx.x % 4 * 4 + i / 2)];
        x += i % 2 ? upper(pair) : lower(pair);
      }
      sum += __bfloat162float(of_w[i]) * x;
    }
  }
  __device__ __forceinline__ float of_row() const { return over_row(sum); }
};

template <>
struct EightSums<Int8> {
  int sums[Parts<Int8>::COUNT] = {};

  __device__ __forceinline__ void add(int, uint4 w, const unsigned* step) {
    const signed char* of_w = reinterpret_cast<const signed char*>(&w);
    for (int part = 0; part < Parts<Int8>::COUNT; part++) {
      for (int i = 0; i < 16; i++) {
        unsigned digits = step[place_of<Int8>(part, threadIdx.x % 4 * 4 + i / 4)];
        sums[part] += of_w[i] * (signed char)(digits >> i % 4 * 8);
      }
    }
  }
  __device__ __forceinline__ float of_row() const {
    float all = 0.0f;
    int part = 0;
    for (int sum : sums) all += (float)sum * unit_of(part++);
    return over_row(all);
  }
};

#else

__device__ __forceinline__ void multiply_add(float (&sums)[4], uint4 a, uint2 b) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b.x), "r"(b.y));
}
__device__ __forceinline__ void multiply_add(int (&sums)[4], uint4 a, uint2 b) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+r"(sums[0]), "+r"(sums[1]), "+r"(sums[2]), "+r"(sums[3])
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b.x), "r"(b.y));
}

template <class Kind>
struct SumOf {
  using Type = float;
};
template <>
struct SumOf<Int8> {
  using Type = int;
};

// Lane 4 · n + q has row n's sums of columns 2 · q and 2 · q + 1: [0], [1] of even words, [2], [3] of odd words.
template <class Kind>
struct EightSums {
  typename SumOf<Kind>::Type sums[CHAINS][4] = {};

  // Args: which of the sums, a constant where loops are unrolled; this lane's 16 bytes of weights; the step's activations.
  __device__ __forceinline__ void add(int chain, uint4 w, const unsigned* step) {
    constexpr int COUNT = Parts<Kind>::COUNT;
    int lane = threadIdx.x % 32, column = min(lane / 4, 2 * COUNT - 1);  // if there is none, another one's
    int of_half = column < COUNT ? column * 8 : Parts<Kind>::HALF_WORDS + (column - COUNT) * 8;
    multiply_add(sums[chain], w, *reinterpret_cast<const uint2*>(step + of_half + lane % 4 * 2));
  }

  // The sum of row lane / 4, in units of the scale of the activations.
  __device__ __forceinline__ float of_row() const {
    typename SumOf<Kind>::Type all[4] = {};
#pragma unroll
    for (int chain = 0; chain < CHAINS; chain++) {
#pragma unroll
      for (int i = 0; i < 4; i++) all[i] += sums[chain][i];
    }
    int q = threadIdx.x % 4;
    float sum;
    if constexpr (Kind::SCALED) {  // digits of even words: columns 0 to 3; of odd words: 4 to 7
      int first = q % 2 * 2;
      sum = (float)(q < 2 ? all[0] : all[2]) * unit_of(first) + (float)(q < 2 ? all[1] : all[3]) * unit_of(first + 1);
    } else {  // parts of even words: columns 0 to 2; of odd words: 3 to 5
      sum = q == 0 ? all[0] + all[1] : q == 1 ? all[0] + all[3] : q == 2 ? all[2] + all[3] : 0.0f;
    }
    return over_row(sum);
  }
};

#endif
