// Decode of several texts: attention of one new token each (decode/attend.cuh), as the next product's input.
//
// The positions of a KV head are cut into SPLITS slices, one block each, where texts are too few to fill a GPU. The last of these
// blocks puts the parts together. The arguments are those of decode/attention.cu, and
//
//   qkv      [QKV_PARTS, texts, HEADS + 2 * KV_HEADS, HEAD_DIM] float, a product
//   tickets  [texts, KV_HEADS] int, 0
//   out      [PARTS, texts, HEADS * HEAD_DIM]
//   grid     KV_HEADS × SPLITS × texts blocks (x, y, z)        block  WARPS warps
#include "../decode/attend.cuh"
#include "../decode/merged.cuh"
#include "last_block.cuh"
#include "parts.cuh"

extern "C" __global__ void __launch_bounds__(THREADS)
    rows_attention(const float* __restrict__ qkv, const float* __restrict__ q_gain, const float* __restrict__ k_gain,
                   const float2* __restrict__ turns, float* __restrict__ keys, float* __restrict__ values,
                   const int* __restrict__ state, float* __restrict__ parts, float2* __restrict__ sums,
                   int* __restrict__ tickets, Part16* __restrict__ out, float epsilon, float q_scale, int capacity) {
  int kv_head = blockIdx.x, text = blockIdx.z, texts = gridDim.z;
  keys += (size_t)text * capacity * (KV_HEADS * HEAD_DIM);
  values += (size_t)text * capacity * (KV_HEADS * HEAD_DIM);
  state += 4 * text;

  // The product before has waited for all before it: state and old keys are there, and only qkv is waited for.
  Slice slice(blockIdx.y, SPLITS, fresh(state));
  bool ended = fresh(state + 2);
  attend(
      slice, kv_head, text, texts, ended, qkv, q_gain, k_gain, turns, keys, values, parts, sums, epsilon, q_scale,
      Plain{}, [] { wait_for_previous(); }, [] { __syncthreads(); });

  if (!is_last_block(tickets + text * KV_HEADS + kv_head, SPLITS)) return;
  const float* of_text = parts + (size_t)text * HEADS * SPLITS * HEAD_DIM;
  const float2* sums_of_text = sums + (size_t)text * HEADS * SPLITS;
  for (int i = threadIdx.x; i < GROUP * LANES; i += THREADS) {
    int head = kv_head * GROUP + i / LANES;
    float4 four = merged(of_text, sums_of_text, head, i % LANES);
    float numbers[4] = {four.x, four.y, four.z, four.w};
    Part16* to = out + ((size_t)text * HEADS + head) * HEAD_DIM + i % LANES * 4;
#pragma unroll
    for (int n = 0; n < 4; n++) store_parts(numbers[n], to + n, (size_t)texts * HEADS * HEAD_DIM);
  }
}
