// Prefill: queries, keys and values of a prompt's tokens, from one product: turned to their positions (RoPE), keys and values into the
// cache, and all three in 16 bits for attention on tensor cores. With KEYS_ONLY there are no queries, and nothing is attended to.
//
//   qkv      [PARTS, rows, HEADS + 2 * KV_HEADS, HEAD_DIM] float, or without the queries
//   scales   [HEADS + 2 * KV_HEADS, HEAD_DIM] float, of its weights, or without the queries'; not read without SCALED
//   q_gain, k_gain   [HEAD_DIM] float, of Qwen3's norms; not read without QK_NORM
//   turns    [positions, HEAD_DIM / 2] float2; the rows are positions 0, 1, 2, …
//   prompt   [2 + rows] int: how many tokens it has, to which text it belongs, and the tokens. Rows past them are computed, so that
//            what was recorded for many rows serves for fewer, but not kept.
//   keys, values     [texts, capacity, KV_HEADS, HEAD_DIM] float: the caches
//   q16      [PARTS, rows, HEADS, HEAD_DIM] half, times q_scale    k16, v16   [PARTS, rows, KV_HEADS, HEAD_DIM] half
//   grid     rows blocks                                      block      WARPS warps
#include "../decode/shapes.cuh"
#include "../decode/turn.cuh"
#include "parts.cuh"

#ifndef KEYS_ONLY
#define KEYS_ONLY 0
#endif

extern "C" __global__ void __launch_bounds__(THREADS)
    rows_turn(const float* __restrict__ qkv, const float* __restrict__ scales, const float* __restrict__ q_gain,
              const float* __restrict__ k_gain, const float2* __restrict__ turns, const int* __restrict__ prompt,
              float* __restrict__ keys, float* __restrict__ values, Part16* __restrict__ q16, Part16* __restrict__ k16,
              Part16* __restrict__ v16, float epsilon, float q_scale, int capacity) {
  constexpr int ASKING = KEYS_ONLY ? 0 : HEADS, QKV_ROWS = ASKING + 2 * KV_HEADS;
  constexpr size_t CACHE_ROW = KV_HEADS * HEAD_DIM;
  size_t row = blockIdx.x, rows = gridDim.x;
  int tokens = prompt[0];
  bool kept = row < tokens;
  const float2* angles = turns + (kept ? row : 0) * (HEAD_DIM / 2);
  size_t cached_row = ((size_t)prompt[1] * capacity + row) * CACHE_ROW;
  for (int head = threadIdx.x / 32; head < QKV_ROWS; head += WARPS) {
    const float* from = qkv + (row * QKV_ROWS + head) * HEAD_DIM;
    auto load = [&](int i) { return sum_parts(from + i, rows * QKV_ROWS * HEAD_DIM, scales + head * HEAD_DIM + i); };
    if (head < ASKING) {
      Part16* to = q16 + (row * HEADS + head) * HEAD_DIM;
      auto store = [&](int i, float x) { store_parts(x, to + i, rows * HEADS * HEAD_DIM); };
      turn_head<HEAD_DIM>(load, q_gain, epsilon, angles, q_scale, store);
      continue;
    }
    bool is_key = head < ASKING + KV_HEADS;
    size_t at = (head - ASKING) % KV_HEADS * HEAD_DIM;
    float* cached = (is_key ? keys : values) + cached_row + at;
    Part16* to = (is_key ? k16 : v16) + row * CACHE_ROW + at;
    auto store = [&](int i, float x) {
      if (kept) cached[i] = x;
      if (!KEYS_ONLY) store_parts(x, to + i, rows * CACHE_ROW);
    };
    if (is_key) {
      turn_head<HEAD_DIM>(load, k_gain, epsilon, angles, 1.0f, store);
    } else {
      for (int i = threadIdx.x % 32; i < HEAD_DIM; i += 32) store(i, load(i));
    }
  }
}
