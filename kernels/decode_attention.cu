// Decode attention: one query against the cache. A group's heads share each key and value that is loaded.
//
// One block for each KV head: it works for the GROUP heads that read this KV head. Each row of K and of V is loaded once, into
// registers, and used GROUP times.
//
//   q, out  [kv_heads · GROUP, head_dim]         heads side by side: KV head n serves heads n · GROUP, n · GROUP + 1, …
//   k, v    [capacity, kv_heads, head_dim]       rows 0 to length - 1 count; what lies behind may be anything, NaN too
//   grid    kv_heads blocks                      block: THREADS threads, whole warps, at most 1024
//   shared  GROUP · length + WARPS · GROUP · 32 · COLUMNS floats, given at the launch
//
// Lane l of each warp keeps columns l, l + 32, … of the group's queries and results in registers: COLUMNS of each, so head_dim
// is at most 32 · COLUMNS. Numbers that the compiler knows let it unroll the loops over them.
#include <math_constants.h>

#include "warp_sum.cuh"

#ifndef THREADS
#define THREADS 512
#endif
#ifndef GROUP
#define GROUP 4
#endif
#ifndef COLUMNS
#define COLUMNS 2
#endif
static_assert(THREADS % 32 == 0 && THREADS <= 1024, "a block is whole warps, at most 1024 threads");
constexpr int WARPS = THREADS / 32;

// The bound: a large GROUP must not take more registers than THREADS threads can have.
extern "C" __global__ void __launch_bounds__(THREADS)
    decode_attention(const float* __restrict__ q, const float* __restrict__ k, const float* __restrict__ v,
                     float* __restrict__ out, int length, int head_dim, float scale) {
  extern __shared__ float weights[];           // [GROUP][length]: first the scores, then their exponentials
  float* share_of = weights + GROUP * length;  // [WARPS][GROUP][32 · COLUMNS]: a warp's share of the weighted sums
  __shared__ float largest_of[WARPS][GROUP];   // score that a warp has seen
  __shared__ float sum_of[WARPS][GROUP];       // of the exponentials that a warp has made
  int kv_head = blockIdx.x, kv_heads = gridDim.x;
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  // solve: begin
  // stub: // 1. Where this KV head's keys and values start, how far apart its rows lie, and where the group's queries are.
  // stub: // 2. Each lane takes its columns of all the group's queries, times the scale.
  // stub: // 3. Scores: warp w takes keys w, w + WARPS, …; each lane loads its columns of a key once, for all queries.
  // stub: //    Keep the largest score of each query.
  // stub: // 4. For each query, the exponential of each score minus the largest, and their sum.
  // stub: // 5. Weighted sums of V's rows: warp w takes rows w, w + WARPS, …; each number is loaded once, for all queries.
  // stub: // 6. For each query, add up the warps' shares, divide by the sum, store.
  // stub: (void)share_of, (void)largest_of, (void)sum_of, (void)kv_head, (void)kv_heads, (void)lane, (void)warp;
  size_t step = (size_t)kv_heads * head_dim;
  const float* keys = k + (size_t)kv_head * head_dim;
  const float* values = v + (size_t)kv_head * head_dim;
  const float* queries = q + (size_t)kv_head * GROUP * head_dim;

  float query[GROUP][COLUMNS];
  for (int g = 0; g < GROUP; g++) {
    for (int c = 0; c < COLUMNS; c++) {
      int d = lane + 32 * c;
      query[g][c] = d < head_dim ? queries[g * head_dim + d] * scale : 0.0f;
    }
  }

  float largest[GROUP];
  for (int g = 0; g < GROUP; g++) largest[g] = -CUDART_INF_F;
#pragma unroll 4
  for (int j = warp; j < length; j += WARPS) {
    float product[GROUP] = {};
    for (int c = 0; c < COLUMNS; c++) {
      int d = lane + 32 * c;
      float key = d < head_dim ? keys[j * step + d] : 0.0f;
      for (int g = 0; g < GROUP; g++) product[g] += query[g][c] * key;
    }
    for (int g = 0; g < GROUP; g++) {
      float score = warp_sum(product[g]);
      if (lane == 0) weights[g * length + j] = score;
      largest[g] = fmaxf(largest[g], score);
    }
  }
  for (int g = 0; g < GROUP; g++) {
    if (lane == 0) largest_of[warp][g] = largest[g];
  }
  __syncthreads();

  for (int g = 0; g < GROUP; g++) {
    for (int w = 0; w < WARPS; w++) largest[g] = fmaxf(largest[g], largest_of[w][g]);
    float sum = 0.0f;
    for (int j = threadIdx.x; j < length; j += THREADS) {
      float weight = expf(weights[g * length + j] - largest[g]);
      weights[g * length + j] = weight;
      sum += weight;
    }
    sum = warp_sum(sum);
    if (lane == 0) sum_of[warp][g] = sum;
  }
  __syncthreads();

  float share[GROUP][COLUMNS] = {};
#pragma unroll 4
  for (int j = warp; j < length; j += WARPS) {
    for (int c = 0; c < COLUMNS; c++) {
      int d = lane + 32 * c;
      float value = d < head_dim ? values[j * step + d] : 0.0f;
      for (int g = 0; g < GROUP; g++) share[g][c] += weights[g * length + j] * value;
    }
  }
  for (int g = 0; g < GROUP; g++) {
    for (int c = 0; c < COLUMNS; c++) share_of[(warp * GROUP + g) * 32 * COLUMNS + lane + 32 * c] = share[g][c];
  }
  __syncthreads();

  for (int i = threadIdx.x; i < GROUP * head_dim; i += THREADS) {
    int g = i / head_dim, d = i % head_dim;
    float result = 0.0f, total = 0.0f;
    for (int w = 0; w < WARPS; w++) {
      result += share_of[(w * GROUP + g) * 32 * COLUMNS + d];
      total += sum_of[w][g];
    }
    out[(size_t)kv_head * GROUP * head_dim + i] = result / total;
  }
  // solve: end
}
