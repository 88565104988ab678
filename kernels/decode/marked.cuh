// Numbers that say when they were written: what one block computes and others wait for, without a barrier's promise.
//
// The lowest bit of a float's mantissa is a mark. Every number is written once a layer, with the other mark each time, so a reader
// that knows which layer it is in sees at once whether a number is this layer's; if not, it looks again. It costs 2^-24 of a number, as
// much as one rounding. (NCCL's protocol LL has a flag beside each number instead: twice the bytes.)
//
// No number is overwritten before all have read it: who writes the next layer's has read something of this layer that depends on all
// who read. So a block that has nothing to add to a stage does not read what the stage reads.
#pragma once
#include <math_constants.h>

#include "chain.cuh"

struct Mark {
  unsigned bit;

  // Infinity with its lowest bit set is a NaN, which is what comes of it in the end.
  __device__ __forceinline__ float on(float value) const {
    return __uint_as_float((__float_as_uint(value) & ~1u) | bit);
  }
  // A part of attention: the maximum of no scores is -infinity, and must not become a NaN.
  __device__ __forceinline__ float2 on(float2 v) const {
    return make_float2(on(v.x == -CUDART_INF_F ? -CUDART_MAX_NORMAL_F : v.x), on(v.y));
  }
  __device__ __forceinline__ float4 on(float4 v) const { return make_float4(on(v.x), on(v.y), on(v.z), on(v.w)); }

#ifdef __CUDA_EMU__
  // Blocks wait for each other at barriers there.
  template <class T>
  __device__ __forceinline__ void send(T* to, T value) const {
    *to = on(value);
  }
  template <class T>
  __device__ __forceinline__ T look(const T* from) const {
    return *from;
  }
  template <class T>
  __device__ __forceinline__ unsigned missing(T) const {
    return 0;
  }
#else
  // The lowest bit: whether a number is the last layer's. The others mean nothing.
  __device__ __forceinline__ unsigned missing(float v) const { return __float_as_uint(v) ^ bit; }
  __device__ __forceinline__ unsigned missing(float2 v) const { return missing(v.x) | missing(v.y); }
  __device__ __forceinline__ unsigned missing(float4 v) const {
    return missing(v.x) | missing(v.y) | missing(v.z) | missing(v.w);
  }

  __device__ __forceinline__ void send(float* to, float v) const {
    asm volatile("st.relaxed.gpu.global.f32 [%0], %1;" ::"l"(to), "f"(on(v)) : "memory");
  }
  __device__ __forceinline__ void send(float2* to, float2 v) const {
    v = on(v);
    asm volatile("st.relaxed.gpu.global.v2.f32 [%0], {%1, %2};" ::"l"(to), "f"(v.x), "f"(v.y) : "memory");
  }
  __device__ __forceinline__ void send(float4* to, float4 v) const {
    v = on(v);
    asm volatile("st.relaxed.gpu.global.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(to), "f"(v.x), "f"(v.y), "f"(v.z),
                 "f"(v.w)
                 : "memory");
  }

  // What is there now; it may be the last layer's.
  __device__ __forceinline__ float look(const float* from) const {
    float v;
    asm volatile("ld.relaxed.gpu.global.f32 %0, [%1];" : "=f"(v) : "l"(from) : "memory");
    return v;
  }
  __device__ __forceinline__ float2 look(const float2* from) const {
    float2 v;
    asm volatile("ld.relaxed.gpu.global.v2.f32 {%0, %1}, [%2];" : "=f"(v.x), "=f"(v.y) : "l"(from) : "memory");
    return v;
  }
  __device__ __forceinline__ float4 look(const float4* from) const {
    float4 v;
    asm volatile("ld.relaxed.gpu.global.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
                 : "l"(from)
                 : "memory");
    return v;
  }
#endif

  // `v` was looked at; if it was the last layer's, look until it is this one's.
  __device__ __forceinline__ void make_sure(float& v, const float* from) const {
    while (missing(v) & 1) v = look(from);
  }

  // to[n] = from[i[n]], as soon as all of them are this layer's; zeros where i[n] < 0.
  template <int N>
  __device__ __forceinline__ void receive(const float4* from, const int (&i)[N], float4 (&to)[N]) const {
    unsigned missing_any;
    do {
      missing_any = 0;
#pragma unroll
      for (int n = 0; n < N; n++) to[n] = i[n] >= 0 ? look(from + i[n]) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll
      for (int n = 0; n < N; n++) {
        if (i[n] >= 0) missing_any |= missing(to[n]);
      }
    } while (missing_any & 1);
  }
};
