// Causal attention in three kernels, with all scores in device memory: Vaswani et al. (2017), equation 1.
//
//   q, k, v, out   [tokens, heads, head_dim]
//   scores         [heads, tokens, tokens]: row i has a score for every key j; softmax makes weights of them, in place
//   block          THREADS threads, whole warps, at most 1024
#include <math_constants.h>

#include "warp_sum.cuh"

#include "block_reduce.cuh"  // day 6: block_reduce<Max>(value, partial), block_reduce<Sum>(value, partial)

#ifndef THREADS
#define THREADS 128
#endif
static_assert(THREADS % 32 == 0 && THREADS <= 1024, "a block is whole warps, at most 1024 threads");
constexpr int WARPS = THREADS / 32;

// Block (i, h): row i of head h's scores. Key j gets q · k times the scale, or -inf where it comes after query i.
extern "C" __global__ void attention_scores(const float* __restrict__ q, const float* __restrict__ k,
                                            float* __restrict__ scores, int tokens, int heads, int head_dim,
                                            float scale) {
  int i = blockIdx.x, head = blockIdx.y;
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  // solve: begin
  // stub: // 1. Where this query, this head's first key and this row of scores start, and how far apart one head's keys lie.
  // stub: //    Offsets can pass 2^31: size_t.
  // stub: // 2. Warp w takes keys w, w + WARPS, …; its lanes take neighbouring columns, and one of them stores.
  // stub: // 3. A key after the query gets -CUDART_INF_F, and is not read.
  // stub: (void)i, (void)head, (void)lane, (void)warp;
  size_t step = (size_t)heads * head_dim;
  const float* query = q + i * step + (size_t)head * head_dim;
  const float* keys = k + (size_t)head * head_dim;
  float* row = scores + ((size_t)head * tokens + i) * tokens;
  for (int j = warp; j < tokens; j += WARPS) {
    float score = -CUDART_INF_F;
    if (j <= i) {  // or not, for the whole warp
      float product = 0.0f;
      for (int d = lane; d < head_dim; d += 32) product += query[d] * keys[j * step + d];
      score = warp_sum(product) * scale;
    }
    if (lane == 0) row[j] = score;
  }
  // solve: end
}

// Block (i, h): softmax of row i of head h, in place. Each thread reads and writes elements of its own.
extern "C" __global__ void softmax_rows(float* scores, int tokens) {
  __shared__ float partial[WARPS];  // for block_reduce: one slot a warp
  // solve: begin
  // stub: // Yesterday's kernel. Each row has a finite score, the query's own, so the maximum can be subtracted as it is.
  // stub: (void)partial;
  float* row = scores + ((size_t)blockIdx.y * tokens + blockIdx.x) * tokens;
  float largest = Max::neutral();
  for (int j = threadIdx.x; j < tokens; j += THREADS) largest = Max::combine(largest, row[j]);
  largest = block_reduce<Max>(largest, partial);

  float total = 0.0f;
  for (int j = threadIdx.x; j < tokens; j += THREADS) {
    float weight = expf(row[j] - largest);
    row[j] = weight;
    total += weight;
  }
  __syncthreads();  // all threads have read the maxima in `partial`
  total = block_reduce<Sum>(total, partial);
  for (int j = threadIdx.x; j < tokens; j += THREADS) row[j] /= total;
  // solve: end
}

// Block (i, h): row i of head h's result, the sum of V's rows up to token i, each times its weight.
extern "C" __global__ void weighted_sums(const float* __restrict__ scores, const float* __restrict__ v,
                                         float* __restrict__ out, int tokens, int heads, int head_dim) {
  int i = blockIdx.x, head = blockIdx.y;
  // solve: begin
  // stub: // A column a thread: neighbouring threads read neighbouring columns of one row of V, then of the next row.
  // stub: // Rows after the query's own are not read: 0 times NaN is NaN.
  // stub: (void)i, (void)head;
  size_t step = (size_t)heads * head_dim;
  const float* weights = scores + ((size_t)head * tokens + i) * tokens;
  const float* values = v + (size_t)head * head_dim;
  float* result = out + i * step + (size_t)head * head_dim;
  for (int d = threadIdx.x; d < head_dim; d += THREADS) {
    float sum = 0.0f;
    for (int j = 0; j <= i; j++) sum += weights[j] * values[j * step + d];
    result[d] = sum;
  }
  // solve: end
}
