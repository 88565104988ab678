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
  // 1. Where this block's row of q and out starts, which KV head it reads, how many keys it sees, and how far apart
  //    the rows of one KV head lie. Offsets can pass 2^31: size_t.
  // 2. Each lane takes its columns of the query, times the scale.
  // 3. Scores: warp w takes keys w, w + WARPS, …; keep the largest score.
  // 4. Softmax without the division: the exponential of each score minus the largest, and their sum.
  // 5. Weighted sum of V's rows: warp w takes rows w, w + WARPS, …, each lane its columns.
  // 6. Add up the warps' shares, divide by the sum, store.
  (void)weights, (void)largest_of, (void)sum_of, (void)share_of;
  (void)token, (void)head, (void)lane, (void)warp;
}
