// One head of a token, turned to its position: RoPE, and before it Qwen3's norm of queries and keys.
#pragma once
#include "warp_sum.cuh"

#ifndef QK_NORM
#define QK_NORM 0
#endif

// One head by one warp: normalised where the model does that, turned, times `scale`. Numbers i and i + DIM / 2 are a pair.
//
//   load     load(i) is number i of the head                gain    [DIM], of the norm; not read without QK_NORM
//   turns    cosine and sine of each pair's angle           store   store(i, number) takes the results
template <int DIM, class Load, class Store>
__device__ __forceinline__ void turn_head(Load load, const float* gain, float epsilon, const float2* turns, float scale,
                                          Store store) {
  constexpr int PAIRS = DIM / 2, EACH = (PAIRS + 31) / 32;
  int lane = threadIdx.x % 32;
  float a[EACH], b[EACH], squares = 0.0f;
#pragma unroll
  for (int n = 0; n < EACH; n++) {
    int i = n * 32 + lane;
    a[n] = i < PAIRS ? load(i) : 0.0f;
    b[n] = i < PAIRS ? load(PAIRS + i) : 0.0f;
    squares += a[n] * a[n] + b[n] * b[n];
  }
  float norm = QK_NORM ? rsqrtf(warp_sum(squares) / DIM + epsilon) : 1.0f;
#pragma unroll
  for (int n = 0; n < EACH; n++) {
    int i = n * 32 + lane;
    if (i >= PAIRS) break;
    float first = a[n] * norm * (QK_NORM ? gain[i] : 1.0f), second = b[n] * norm * (QK_NORM ? gain[PAIRS + i] : 1.0f);
    float2 angle = turns[i];
    store(i, (first * angle.x - second * angle.y) * scale);
    store(PAIRS + i, (second * angle.x + first * angle.y) * scale);
  }
}
