// The parts that attention leaves of each head, put together.
//
// A part has the maximum m of its scores, the sum s of exp2(score - m), and its values, weighted alike. With M the largest m of a head,
//
//   x[d] = sum over parts of exp2(m - M) * values[part, d]  /  sum over parts of exp2(m - M) * s
#pragma once
#include <math_constants.h>

#include "chain.cuh"
#include "shapes.cuh"

// Numbers 4 * four to 4 * four + 3 of a head.
//
//   values   [heads, SPLITS, HEAD_DIM]           sums   [heads, SPLITS]: m, s
__device__ __forceinline__ float4 merged(const float* values, const float2* sums, int head, int four) {
  const float4* part = reinterpret_cast<const float4*>(values + (size_t)head * SPLITS * HEAD_DIM) + four;
  float2 of[SPLITS];
  float largest = -CUDART_INF_F;
#pragma unroll
  for (int split = 0; split < SPLITS; split++) {
    of[split] = fresh(sums + head * SPLITS + split);
    largest = fmaxf(largest, of[split].x);
  }
  float total = 0.0f;
  float4 out = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll
  for (int split = 0; split < SPLITS; split++) {
    float share = exp2f(of[split].x - largest);  // 0 for a part of no positions, of which m is -inf
    float4 v = fresh(part + split * (HEAD_DIM / 4));
    total += share * of[split].y;
    out = make_float4(out.x + share * v.x, out.y + share * v.y, out.z + share * v.z, out.w + share * v.w);
  }
  return make_float4(out.x / total, out.y / total, out.z / total, out.w / total);
}
