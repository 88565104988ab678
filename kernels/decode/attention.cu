// Decode, second kernel of a layer: RoPE of the new token's queries and key, its place in the cache, and attention over all positions.
//
// One query a head reads the whole cache, so bytes decide again, and a text of 300 positions is too short to fill a GPU with one
// block for each KV head. So each KV head's positions are cut into SPLITS slices, one block each (Dao and others 2023,
// "Flash-Decoding"). All query heads of a KV head are in one block: a key that is loaded serves all of them. A block goes over its
// slice with an online softmax (day 26): a running maximum m, the sum s of exp2(score - m), and the values weighted alike. What a
// block finds of its slice is a part; the next kernel (output.cu) puts the parts together.
//
// In a warp, HEAD_DIM / 4 lanes hold one position, four numbers each: a key is read as 16 bytes a lane, side by side.
//
//   qkv      [QKV_PARTS, texts, HEADS + 2 * KV_HEADS, HEAD_DIM] float, of the new tokens
//   q_gain, k_gain   [HEAD_DIM] float, of Qwen3's norms of q and k; not read without QK_NORM
//   turns    [capacity, HEAD_DIM / 2] float2: cosine and sine of each pair's angle at each position
//   keys     [texts, capacity, KV_HEADS, HEAD_DIM] float, after RoPE; row `position` is written      values   alike
//   state    [texts, 4]: [0] position of the new token, [2] 1 once the text has ended: the cache is left as it is then
//   parts    [texts, HEADS, SPLITS, HEAD_DIM] float            sums   [texts, HEADS, SPLITS] float2: m, s
//   settled  1 where state and old keys were written before a kernel that the one before this has waited for: not in layer 0
//   grid     KV_HEADS × SPLITS × texts blocks (x, y, z)        block  WARPS warps
#include <math_constants.h>

#include "chain.cuh"
#include "shapes.cuh"
#include "turn.cuh"

#ifndef QKV_PARTS
#define QKV_PARTS 1  // arrays that add up to qkv
#endif
#ifndef UNROLL
#define UNROLL 2  // positions that a lane asks for at once
#endif
constexpr int GROUP = HEADS / KV_HEADS;  // query heads of a KV head
constexpr int LANES = HEAD_DIM / 4;      // of one position
constexpr int TOGETHER = 32 / LANES;     // positions that a warp holds side by side
constexpr int QKV_ROWS = HEADS + 2 * KV_HEADS;
constexpr int AT_ONCE = UNROLL * TOGETHER;  // positions of a warp's round
static_assert(LANES >= 1 && LANES <= 32 && 32 % LANES == 0 && HEAD_DIM % 4 == 0, "lanes share a position evenly");

__device__ __forceinline__ float dot(float4 a, float4 b) { return a.x * b.x + a.y * b.y + (a.z * b.z + a.w * b.w); }

// A softmax that is not finished: maximum, sum, and four of the weighted values.
struct Part {
  float m = -CUDART_INF_F, s = 0.0f;
  float4 v = {0.0f, 0.0f, 0.0f, 0.0f};

  // All that there is so far counts exp2(m - largest) times.
  __device__ __forceinline__ void rise(float largest) {
    float share = m == largest ? 1.0f : exp2f(m - largest);  // -inf and -inf have no difference
    s *= share;
    v = make_float4(v.x * share, v.y * share, v.z * share, v.w * share);
    m = largest;
  }
  __device__ __forceinline__ void add(float weight, float4 value) {
    s += weight;
    v = make_float4(v.x + weight * value.x, v.y + weight * value.y, v.z + weight * value.z, v.w + weight * value.w);
  }
  __device__ __forceinline__ void add(Part other) {
    float largest = fmaxf(m, other.m);
    rise(largest);
    other.rise(largest);
    s += other.s;
    v = make_float4(v.x + other.v.x, v.y + other.v.y, v.z + other.v.z, v.w + other.v.w);
  }
};

__device__ __forceinline__ Part from_lane(Part part, int distance) {
  Part other;
  other.m = __shfl_xor_sync(0xffffffffu, part.m, distance);
  other.s = __shfl_xor_sync(0xffffffffu, part.s, distance);
  other.v.x = __shfl_xor_sync(0xffffffffu, part.v.x, distance);
  other.v.y = __shfl_xor_sync(0xffffffffu, part.v.y, distance);
  other.v.z = __shfl_xor_sync(0xffffffffu, part.v.z, distance);
  other.v.w = __shfl_xor_sync(0xffffffffu, part.v.w, distance);
  return other;
}

extern "C" __global__ void __launch_bounds__(THREADS)
    decode_attention(const float* __restrict__ qkv, const float* __restrict__ q_gain, const float* __restrict__ k_gain,
                     const float2* __restrict__ turns, float* __restrict__ keys, float* __restrict__ values,
                     const int* __restrict__ state, float* __restrict__ parts, float2* __restrict__ sums, float epsilon,
                     float q_scale, int capacity, int settled) {
  __shared__ __align__(16) float q[GROUP][HEAD_DIM], new_key[HEAD_DIM], new_value[HEAD_DIM];
  __shared__ float4 of_warp[WARPS][GROUP][LANES];
  __shared__ float2 sum_of_warp[WARPS][GROUP];
  int kv_head = blockIdx.x, split = blockIdx.y, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  int of_position = lane % LANES, beside = lane / LANES;

  int text = blockIdx.z;
  keys += (size_t)text * capacity * (KV_HEADS * HEAD_DIM);
  values += (size_t)text * capacity * (KV_HEADS * HEAD_DIM);
  state += 4 * text;

  let_next_start();
  if (!settled) wait_for_previous();
  int position = fresh(state), slice = (position + 1 + SPLITS - 1) / SPLITS;
  int first = split * slice, last = min(position + 1, first + slice);
  bool has_new = first <= position && position < last;  // one block of each KV head
  bool ended = fresh(state + 2);

  // The old keys and values of a round, on their way while something else is done; zeros where there are none.
  float4 k[UNROLL], v[UNROLL];
  auto ask = [&](int round) {
#pragma unroll
    for (int n = 0; n < UNROLL; n++) {
      int p = round + n * TOGETHER + beside;
      size_t from = ((size_t)p * KV_HEADS + kv_head) * LANES + of_position;
      k[n] = v[n] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
      if (p >= last || p >= position) continue;
      k[n] = fresh(reinterpret_cast<const float4*>(keys) + from);
      v[n] = fresh(reinterpret_cast<const float4*>(values) + from);
    }
  };
  ask(first + warp * AT_ONCE);
  if (settled) wait_for_previous();

  // Number i of a row of qkv.
  auto row_of_qkv = [&](int row, int i) {
    const float* from = qkv + ((size_t)text * QKV_ROWS + row) * HEAD_DIM + i;
    float sum = fresh(from);
    for (int part = 1; part < QKV_PARTS; part++) sum += fresh(from + (size_t)part * gridDim.z * QKV_ROWS * HEAD_DIM);
    return sum;
  };
  for (int head = warp; head < GROUP + has_new; head += WARPS) {
    bool query = head < GROUP;
    int row = query ? kv_head * GROUP + head : HEADS + kv_head;
    float* to = query ? q[head] : new_key;
    turn_head<HEAD_DIM>([&](int i) { return row_of_qkv(row, i); }, query ? q_gain : k_gain, epsilon,
                        turns + (size_t)position * (HEAD_DIM / 2), query ? q_scale : 1.0f,
                        [&](int i, float number) { to[i] = number; });
  }
  for (int i = threadIdx.x; has_new && i < HEAD_DIM; i += THREADS) {
    new_value[i] = row_of_qkv(HEADS + KV_HEADS + kv_head, i);
  }
  __syncthreads();
  size_t at = (size_t)position * KV_HEADS + kv_head;
  if (has_new && !ended && threadIdx.x < LANES) {
    reinterpret_cast<float4*>(keys)[at * LANES + threadIdx.x] = reinterpret_cast<const float4*>(new_key)[threadIdx.x];
    reinterpret_cast<float4*>(values)[at * LANES + threadIdx.x] =
        reinterpret_cast<const float4*>(new_value)[threadIdx.x];
  }

  float4 query[GROUP];
  Part part[GROUP];
#pragma unroll
  for (int head = 0; head < GROUP; head++) query[head] = reinterpret_cast<const float4*>(q[head])[of_position];
  for (int round = first + warp * AT_ONCE; round < last; round += WARPS * AT_ONCE) {
    float4 key[UNROLL], value[UNROLL];
#pragma unroll
    for (int n = 0; n < UNROLL; n++) {
      bool is_new = has_new && round + n * TOGETHER + beside == position;
      key[n] = is_new ? reinterpret_cast<const float4*>(new_key)[of_position] : k[n];
      value[n] = is_new ? reinterpret_cast<const float4*>(new_value)[of_position] : v[n];
    }
    ask(round + WARPS * AT_ONCE);
#pragma unroll
    for (int head = 0; head < GROUP; head++) {
      float score[UNROLL], largest = part[head].m;
#pragma unroll
      for (int n = 0; n < UNROLL; n++) {
        score[n] = dot(query[head], key[n]);
        for (int distance = LANES / 2; distance > 0; distance /= 2) {
          score[n] += __shfl_xor_sync(0xffffffffu, score[n], distance);
        }
        if (round + n * TOGETHER + beside >= last) score[n] = -CUDART_INF_F;
        largest = fmaxf(largest, score[n]);
      }
      part[head].rise(largest);
#pragma unroll
      for (int n = 0; n < UNROLL; n++) {
        if (round + n * TOGETHER + beside < last) part[head].add(exp2f(score[n] - largest), value[n]);
      }
    }
  }

#pragma unroll
  for (int head = 0; head < GROUP; head++) {
    for (int distance = LANES; distance < 32; distance *= 2) part[head].add(from_lane(part[head], distance));
    if (beside == 0) of_warp[warp][head][of_position] = part[head].v;
    if (lane == 0) sum_of_warp[warp][head] = make_float2(part[head].m, part[head].s);
  }
  __syncthreads();
  for (int i = threadIdx.x; i < GROUP * LANES; i += THREADS) {
    int head = i / LANES;
    Part all;
    for (int other = 0; other < WARPS; other++) {
      Part one;
      one.m = sum_of_warp[other][head].x;
      one.s = sum_of_warp[other][head].y;
      one.v = of_warp[other][head][i % LANES];
      all.add(one);
    }
    size_t to = ((size_t)text * HEADS + kv_head * GROUP + head) * SPLITS + split;
    reinterpret_cast<float4*>(parts)[to * LANES + i % LANES] = all.v;
    if (i % LANES == 0) sums[to] = make_float2(all.m, all.s);
  }
}
