// Causal attention in which groups of heads share K and V: Vaswani et al. (2017), equation 1; Ainslie et al. (2023).
//
// One block for each query and head. Query i stands at position length - tokens + i and sees the keys up to its own. Their
// scores live in shared memory, and nothing but the result goes back to device memory.
//
//   q, out  [tokens, heads, head_dim]         head h reads KV head h / (heads / kv_heads)
//   k, v    [length, kv_heads, head_dim]      length >= tokens
//   grid    tokens × heads blocks             block: THREADS threads, whole warps, at most 1024
//   shared  length floats, given at the launch; head_dim is at most MAX_HEAD_DIM
#include <math_constants.h>

#ifndef THREADS
#define THREADS 256
#endif
#ifndef MAX_HEAD_DIM
#define MAX_HEAD_DIM 256
#endif
static_assert(THREADS % 32 == 0 && THREADS <= 1024, "a block is whole warps, at most 1024 threads");
constexpr int WARPS = THREADS / 32;

// The sum of `value` over the 32 lanes of the warp; every lane gets it, and all of them must call it.
__device__ __forceinline__ float warp_sum(float value) {
  for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(0xffffffffu, value, distance);
  return value;
}

extern "C" __global__ void attention(const float* __restrict__ q, const float* __restrict__ k,
                                     const float* __restrict__ v, float* __restrict__ out, int tokens, int length,
                                     int heads, int kv_heads, int head_dim, float scale) {
  extern __shared__ float weights[];            // of the keys: first the scores, then their exponentials
  __shared__ float query[MAX_HEAD_DIM];         // this block's row of q, times the scale
  __shared__ float largest_of[WARPS];           // score that a warp has seen
  __shared__ float sum_of[WARPS];               // of the exponentials that a warp has made
  __shared__ float mixed[WARPS][MAX_HEAD_DIM];  // a warp's share of the weighted sum of V's rows
  int token = blockIdx.x, head = blockIdx.y;
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  // solve: begin
  // stub: // 1. Where this block's row of q and out starts, which KV head it reads, how many keys it sees, and how far apart
  // stub: //    the rows of one KV head lie. Offsets can pass 2^31: size_t.
  // stub: // 2. Bring the query into shared memory, times the scale.
  // stub: // 3. Scores: warp w takes keys w, w + WARPS, …, its lanes neighbouring columns; keep the largest score.
  // stub: // 4. Softmax without the division: the exponential of each score minus the largest, and their sum.
  // stub: // 5. Weighted sum of V's rows: warp w takes rows w, w + WARPS, …, its lanes neighbouring columns.
  // stub: // 6. Add up the warps' shares, divide by the sum, store.
  // stub: (void)weights, (void)query, (void)largest_of, (void)sum_of, (void)mixed;
  // stub: (void)token, (void)head, (void)lane, (void)warp;
  int kv_head = head / (heads / kv_heads);
  int visible = length - tokens + token + 1;
  size_t row = ((size_t)token * heads + head) * head_dim;
  size_t step = (size_t)kv_heads * head_dim;
  const float* keys = k + (size_t)kv_head * head_dim;
  const float* values = v + (size_t)kv_head * head_dim;

  for (int d = threadIdx.x; d < head_dim; d += THREADS) query[d] = q[row + d] * scale;
  __syncthreads();

  float largest = -CUDART_INF_F;
  for (int j = warp; j < visible; j += WARPS) {
    float product = 0.0f;
    for (int d = lane; d < head_dim; d += 32) product += query[d] * keys[j * step + d];
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

  for (int d = lane; d < head_dim; d += 32) {
    float share = 0.0f;
    for (int j = warp; j < visible; j += WARPS) share += weights[j] * values[j * step + d];
    mixed[warp][d] = share;
  }
  __syncthreads();
  float total = 0.0f;
  for (int w = 0; w < WARPS; w++) total += sum_of[w];
  for (int d = threadIdx.x; d < head_dim; d += THREADS) {
    float result = 0.0f;
    for (int w = 0; w < WARPS; w++) result += mixed[w][d];
    out[row + d] = result / total;
  }
  // solve: end
}
