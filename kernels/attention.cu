// Causal attention in which groups of heads share K and V: Vaswani et al. (2017), equation 1; Ainslie et al. (2023).
//
// One block for each query and head. Query i stands at position length - tokens + i and sees the keys up to its own. Their
// scores live in shared memory, and nothing but the result goes back to device memory.
//
//   q, out  [tokens, heads, head_dim]         head h reads KV head h / (heads / kv_heads)
//   k, v    [length, kv_heads, head_dim]      length >= tokens
//   grid    tokens × heads blocks             block: THREADS threads, whole warps, at most 1024
//   shared  length floats, given at the launch
//
// Lane l of each warp keeps columns l, l + 32, … of the query and of the result in registers: COLUMNS of them, so head_dim is at
// most 32 · COLUMNS. A number that the compiler knows lets it unroll the loops over them.
#include <math_constants.h>

#include "warp_sum.cuh"

#ifndef THREADS
#define THREADS 512
#endif
#ifndef COLUMNS
#define COLUMNS 2
#endif
static_assert(THREADS % 32 == 0 && THREADS <= 1024, "a block is whole warps, at most 1024 threads");
constexpr int WARPS = THREADS / 32;

extern "C" __global__ void attention(const float* __restrict__ q, const float* __restrict__ k,
                                     const float* __restrict__ v, float* __restrict__ out, int tokens, int length,
                                     int heads, int kv_heads, int head_dim, float scale) {
  extern __shared__ float weights[];               // of the keys: first the scores, then their exponentials
  __shared__ float largest_of[WARPS];              // score that a warp has seen
  __shared__ float sum_of[WARPS];                  // of the exponentials that a warp has made
  __shared__ float share_of[WARPS][COLUMNS * 32];  // a warp's share of the weighted sum of V's rows
  int token = blockIdx.x, head = blockIdx.y;
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  // solve: begin
  // stub: // 1. Where this block's row of q and out starts, which KV head it reads, how many keys it sees, and how far apart
  // stub: //    the rows of one KV head lie. Offsets can pass 2^31: size_t.
  // stub: // 2. Each lane takes its columns of the query, times the scale.
  // stub: // 3. Scores: warp w takes keys w, w + WARPS, …; keep the largest score.
  // stub: // 4. Softmax without the division: the exponential of each score minus the largest, and their sum.
  // stub: // 5. Weighted sum of V's rows: warp w takes rows w, w + WARPS, …, each lane its columns.
  // stub: // 6. Add up the warps' shares, divide by the sum, store.
  // stub: (void)weights, (void)largest_of, (void)sum_of, (void)share_of;
  // stub: (void)token, (void)head, (void)lane, (void)warp;
  int kv_head = head / (heads / kv_heads);
  int visible = length - tokens + token + 1;
  size_t row = ((size_t)token * heads + head) * head_dim;
  size_t step = (size_t)kv_heads * head_dim;
  const float* keys = k + (size_t)kv_head * head_dim;
  const float* values = v + (size_t)kv_head * head_dim;

  float query[COLUMNS];
  for (int c = 0; c < COLUMNS; c++) {
    int d = lane + 32 * c;
    query[c] = d < head_dim ? q[row + d] * scale : 0.0f;
  }

  float largest = -CUDART_INF_F;
#pragma unroll 4
  for (int j = warp; j < visible; j += WARPS) {
    float product = 0.0f;
    for (int c = 0; c < COLUMNS; c++) {
      int d = lane + 32 * c;
      if (d < head_dim) product += query[c] * keys[j * step + d];
    }
    float score = warp_sum(product);
    if (lane == 0) weights[j] = score;
    largest = fmaxf(largest, score);
  }
  if (lane == 0) largest_of[warp] = largest;
  __syncthreads();
  for (int w = 0; w < WARPS; w++) largest = fmaxf(largest, largest_of[w]);

  float sum = 0.0f;
  for (int j = threadIdx.x; j < visible; j += THREADS) {
    float weight = expf(weights[j] - largest);
    weights[j] = weight;
    sum += weight;
  }
  sum = warp_sum(sum);
  if (lane == 0) sum_of[warp] = sum;
  __syncthreads();

  float share[COLUMNS] = {};
#pragma unroll 4
  for (int j = warp; j < visible; j += WARPS) {
    for (int c = 0; c < COLUMNS; c++) {
      int d = lane + 32 * c;
      if (d < head_dim) share[c] += weights[j] * values[j * step + d];
    }
  }
  for (int c = 0; c < COLUMNS; c++) share_of[warp][lane + 32 * c] = share[c];
  __syncthreads();
  float total = 0.0f;
  for (int w = 0; w < WARPS; w++) total += sum_of[w];
  for (int d = threadIdx.x; d < head_dim; d += THREADS) {
    float result = 0.0f;
    for (int w = 0; w < WARPS; w++) result += share_of[w][d];
    out[row + d] = result / total;
  }
  // solve: end
}
