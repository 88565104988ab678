// Prefill: queries, keys and values of a prompt's tokens, from one product: turned to their positions (RoPE), keys and values into the
// cache, and all three in 16 bits for attention on tensor cores.
//
//   qkv      [PARTS, rows, HEADS + 2 * KV_HEADS, HEAD_DIM] float
//   q_gain, k_gain   [HEAD_DIM] float, of Qwen3's norms; not read without QK_NORM
//   turns    [capacity, HEAD_DIM / 2] float2; the rows are positions 0, 1, 2, …
//   keys, values     [capacity, KV_HEADS, HEAD_DIM] float: the cache
//   q16      [rows, HEADS, HEAD_DIM] half, times q_scale      k16, v16   [rows, KV_HEADS, HEAD_DIM] half
//   grid     rows blocks                                      block      WARPS warps
#include "../decode/shapes.cuh"
#include "../decode/turn.cuh"
#include "parts.cuh"

extern "C" __global__ void __launch_bounds__(THREADS)
    rows_turn(const float* __restrict__ qkv, const float* __restrict__ q_gain, const float* __restrict__ k_gain,
              const float2* __restrict__ turns, float* __restrict__ keys, float* __restrict__ values,
              __half* __restrict__ q16, __half* __restrict__ k16, __half* __restrict__ v16, float epsilon,
              float q_scale) {
  constexpr int QKV_ROWS = HEADS + 2 * KV_HEADS;
  size_t row = blockIdx.x, apart = (size_t)gridDim.x * QKV_ROWS * HEAD_DIM;
  const float2* angles = turns + row * (HEAD_DIM / 2);
  for (int head = threadIdx.x / 32; head < QKV_ROWS; head += WARPS) {
    const float* from = qkv + (row * QKV_ROWS + head) * HEAD_DIM;
    auto load = [&](int i) { return sum_parts(from + i, apart); };
    if (head < HEADS) {
      __half* to = q16 + (row * HEADS + head) * HEAD_DIM;
      turn_head<HEAD_DIM>(load, q_gain, epsilon, angles, q_scale, [&](int i, float x) { to[i] = __float2half(x); });
      continue;
    }
    bool is_key = head < HEADS + KV_HEADS;
    size_t at = (row * KV_HEADS + (head - HEADS) % KV_HEADS) * HEAD_DIM;
    float* cached = (is_key ? keys : values) + at;
    __half* to = (is_key ? k16 : v16) + at;
    auto store = [&](int i, float x) {
      cached[i] = x;
      to[i] = __float2half(x);
    };
    if (is_key) {
      turn_head<HEAD_DIM>(load, k_gain, epsilon, angles, 1.0f, store);
    } else {
      for (int i = threadIdx.x % 32; i < HEAD_DIM; i += 32) store(i, load(i));
    }
  }
}
