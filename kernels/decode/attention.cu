// Decode, second kernel of a layer: RoPE of the new token's queries and key, its place in the cache, and attention over all positions.
//
// One query a head reads the whole cache, so bytes decide again, and a text of 300 positions is too short to fill a GPU with one
// block for each KV head. So each KV head's positions are cut into SPLITS slices, one block each (Dao and others 2023,
// "Flash-Decoding"); attend.cuh says what a block does with its slice. The next kernel (output.cu) puts the parts together.
//
//   qkv      [QKV_PARTS, texts, HEADS + 2 * KV_HEADS, HEAD_DIM] float, of the new tokens
//   q_gain, k_gain   [HEAD_DIM] float, of Qwen3's norms of q and k; not read without QK_NORM
//   turns    [capacity, HEAD_DIM / 2] float2: cosine and sine of each pair's angle at each position
//   keys     [texts, capacity, KV_HEADS, HEAD_DIM] float, after RoPE; row `position` is written      values   alike
//   state    [texts, 4]: [0] position of the new token, [2] 1 once the text has ended: the cache is left as it is then
//   parts    [texts, HEADS, SPLITS, HEAD_DIM] float            sums   [texts, HEADS, SPLITS] float2: m, s
//   settled  1 where state and old keys were written before a kernel that the one before this has waited for: not in layer 0
//   grid     KV_HEADS × SPLITS × texts blocks (x, y, z)        block  WARPS warps
#include "attend.cuh"

extern "C" __global__ void __launch_bounds__(THREADS)
    decode_attention(const float* __restrict__ qkv, const float* __restrict__ q_gain, const float* __restrict__ k_gain,
                     const float2* __restrict__ turns, float* __restrict__ keys, float* __restrict__ values,
                     const int* __restrict__ state, float* __restrict__ parts, float2* __restrict__ sums, float epsilon,
                     float q_scale, int capacity, int settled) {
  int text = blockIdx.z;
  keys += (size_t)text * capacity * (KV_HEADS * HEAD_DIM);
  values += (size_t)text * capacity * (KV_HEADS * HEAD_DIM);
  state += 4 * text;

  let_next_start();
  if (!settled) wait_for_previous();
  Slice slice(blockIdx.y, SPLITS, fresh(state));
  bool ended = fresh(state + 2);
  auto ready = [&] {
    if (settled) wait_for_previous();
  };
  attend(slice, blockIdx.x, text, gridDim.z, ended, qkv, q_gain, k_gain, turns, keys, values, parts, sums, epsilon,
         q_scale, Plain{}, ready, [] { __syncthreads(); });
}
