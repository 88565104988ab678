// The residual stream, normalised and laid out for a row stream: every block does it for itself, because a kernel that does it
// once would be one more to wait for.
#pragma once
#include "block_reduce.cuh"  // day 6
#include "chain.cuh"
#include "row_stream.cuh"

// x = hidden / sqrt(mean of hidden^2 + epsilon) * gain. Waits for the kernel before, which has written `hidden`. All threads of the
// block must call it; it ends with a barrier.
//
//   hidden, gain   [COLUMNS], in global memory
//   x              [COLUMNS] in shared memory, in the order of `staged`
//   partial        shared memory, a float for each warp
template <int COLUMNS, int THREADS>
__device__ __forceinline__ void stage_normed(const float* hidden, const float* gain, float epsilon, float4* x,
                                             float* partial) {
  constexpr int FOURS = COLUMNS / 4, EACH = (FOURS + THREADS - 1) / THREADS;
  const float4 none = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  float4 mine[EACH], gains[EACH];
#pragma unroll
  for (int n = 0; n < EACH; n++) {
    int i = n * THREADS + threadIdx.x;
    gains[n] = i < FOURS ? reinterpret_cast<const float4*>(gain)[i] : none;
  }
  wait_for_previous();
  float squares = 0.0f;
#pragma unroll
  for (int n = 0; n < EACH; n++) {
    int i = n * THREADS + threadIdx.x;
    mine[n] = i < FOURS ? fresh(reinterpret_cast<const float4*>(hidden) + i) : none;
    squares += mine[n].x * mine[n].x + mine[n].y * mine[n].y + (mine[n].z * mine[n].z + mine[n].w * mine[n].w);
  }
  float scale = rsqrtf(block_reduce<Sum>(squares, partial) / COLUMNS + epsilon);
#pragma unroll
  for (int n = 0; n < EACH; n++) {
    int i = n * THREADS + threadIdx.x;
    if (i >= FOURS) break;
    float4 h = mine[n], g = gains[n];
    x[staged<COLUMNS>(i)] = make_float4(h.x * scale * g.x, h.y * scale * g.y, h.z * scale * g.z, h.w * scale * g.w);
  }
  __syncthreads();
}
