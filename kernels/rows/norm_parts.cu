// Rows of the residual stream: what a matrix product has computed is added, and the sum is normalised for the next product.
//
//   hidden[r] += scale[r] * (sum of added[part, r])          parts[r] = hidden[r] / sqrt(mean of hidden[r]^2 + epsilon) * gain
//
//   hidden   [rows, HIDDEN] float, changed in place
//   added    [ADDED, rows, HIDDEN] float, a product; without ADDED there is none
//   scale    [rows] float, by which the product's input was divided
//   scales   [HIDDEN] float, of its weights; not read without SCALED
//   gain     [HIDDEN] float
//   parts    [PARTS, rows, HIDDEN]
//   grid     rows blocks                                      block   WARPS warps
#include "../decode/shapes.cuh"
#include "block_reduce.cuh"  // day 6
#include "parts.cuh"

#ifndef ADDED
#define ADDED PARTS
#endif
static_assert(HIDDEN % 8 == 0, "whole vectors of 16 bytes");

extern "C" __global__ void __launch_bounds__(THREADS)
    rows_norm_parts(float* __restrict__ hidden, const float* __restrict__ added, const float* __restrict__ scale,
                    const float* __restrict__ scales, const float* __restrict__ gain, Part16* __restrict__ parts,
                    float epsilon) {
  constexpr int EACH = (HIDDEN / 8 + THREADS - 1) / THREADS;
  __shared__ float partial[WARPS];
  size_t first = (size_t)blockIdx.x * HIDDEN, apart = (size_t)gridDim.x * HIDDEN;
  float mine[EACH][8], gains[EACH][8], squares = 0.0f;
  auto load = [&](float (&to)[EACH][8], const float* from) {
#pragma unroll
    for (int n = 0; n < EACH; n++) {
      int at = 8 * (n * THREADS + threadIdx.x);
      if (at < HIDDEN) load8(to[n], from + at);
    }
  };
  // The gain comes from far, like all weights. The residual stream has been there since before the product that is added to it.
  load(gains, gain);
  if (ADDED) load(mine, hidden + first);
  wait_for_previous();
  if (!ADDED) load(mine, hidden + first);
  float factor = ADDED ? fresh(scale + blockIdx.x) : 0.0f;
#pragma unroll
  for (int n = 0; n < EACH; n++) {
    int at = 8 * (n * THREADS + threadIdx.x);
    if (at >= HIDDEN) break;
    if (ADDED) {
      float more[8];
      sum_parts8<ADDED>(more, added + first + at, apart, scales + at);
#pragma unroll
      for (int i = 0; i < 8; i++) mine[n][i] += factor * more[i];
#pragma unroll
      for (int i = 0; i < 8; i += 4) {
        *reinterpret_cast<float4*>(hidden + first + at + i) =
            make_float4(mine[n][i], mine[n][i + 1], mine[n][i + 2], mine[n][i + 3]);
      }
    }
#pragma unroll
    for (int i = 0; i < 8; i++) squares += mine[n][i] * mine[n][i];
  }
  float norm = rsqrtf(block_reduce<Sum>(squares, partial) / HIDDEN + epsilon);
#pragma unroll
  for (int n = 0; n < EACH; n++) {
    int at = 8 * (n * THREADS + threadIdx.x);
    if (at >= HIDDEN) break;
#pragma unroll
    for (int i = 0; i < 8; i++) mine[n][i] *= norm * gains[n][i];
    store_parts8(mine[n], parts + first + at, apart);
  }
}
