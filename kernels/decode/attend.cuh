// One new token's attention over a slice of a KV head's positions, by one block: what a kernel of its own does for a chain of kernels
// (attention.cu), and some blocks of the persistent kernel between two of their matrices (persistent.cu).
//
// All query heads of a KV head are in one block: a key that is loaded serves all of them. A block goes over its slice with an online
// softmax (day 26): a running maximum m, the sum s of exp2(score - m), and the values weighted alike. What a block finds of its
// slice is a part; whoever reads them puts them together (merged.cuh).
//
// In a warp, HEAD_DIM / 4 lanes hold one position, four numbers each: a key is read as 16 bytes a lane, side by side.
#pragma once
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

// Positions first to last - 1 of a text, of which the new token's is the last of all.
struct Slice {
  int number, first, last, position;

  // Slice `number` of `count` that are as long as each other, to one position.
  __device__ __forceinline__ Slice(int number, int count, int position) : number(number), position(position) {
    int length = (position + 1 + count - 1) / count;
    first = number * length;
    last = min(position + 1, first + length);
  }
  __device__ __forceinline__ bool has_new() const { return first <= position && position < last; }
};

// How numbers that other blocks write are read, and written for others: in a chain of kernels, as they are.
struct Plain {
  template <int N>
  __device__ __forceinline__ void receive(const float4* from, const int (&i)[N], float4 (&to)[N]) const {
    for (int n = 0; n < N; n++) to[n] = i[n] >= 0 ? fresh(from + i[n]) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  }
  template <class T>
  __device__ __forceinline__ void send(T* to, T value) const {
    *to = value;
  }
};

// THREADS threads call it. The arguments are those of attention.cu, and
//
//   text, texts   which of how many                    ended   the cache is left as it is
//   access        see `Plain`
//   ready()       waits until qkv is there; old keys and values are asked for before
//   sync()        a barrier for the threads that call it
template <class Access, class Ready, class Sync>
__device__ __forceinline__ void attend(Slice slice, int kv_head, int text, int texts, bool ended, const float* qkv,
                                       const float* q_gain, const float* k_gain, const float2* turns, float* keys,
                                       float* values, float* parts, float2* sums, float epsilon, float q_scale,
                                       Access access, Ready ready, Sync sync) {
  __shared__ __align__(16) float raw[GROUP + 2][HEAD_DIM], q[GROUP][HEAD_DIM], new_key[HEAD_DIM];
  __shared__ float2 angles[HEAD_DIM / 2];
  __shared__ float4 of_warp[WARPS][GROUP][LANES];
  __shared__ float2 sum_of_warp[WARPS][GROUP];
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32, of_position = lane % LANES, beside = lane / LANES;
  int position = slice.position, first = slice.first, last = slice.last;
  bool has_new = slice.has_new();  // one block of each KV head

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
  for (int i = threadIdx.x; i < HEAD_DIM / 2; i += THREADS) angles[i] = turns[(size_t)position * (HEAD_DIM / 2) + i];
  ready();

  // This KV head's rows of qkv: its queries, and where the new token is in the slice, its key and value.
  constexpr int EACH = ((GROUP + 2) * LANES + THREADS - 1) / THREADS;
  int from[EACH];
  float4 fours[EACH];
#pragma unroll
  for (int n = 0; n < EACH; n++) {
    int i = n * THREADS + threadIdx.x, head = i / LANES;
    int row = head < GROUP ? kv_head * GROUP + head : HEADS + (head - GROUP) * KV_HEADS + kv_head;
    bool wanted = head < GROUP || (has_new && head < GROUP + 2);
    from[n] = wanted ? (text * QKV_ROWS + row) * LANES + i % LANES : -1;
  }
  access.receive(reinterpret_cast<const float4*>(qkv), from, fours);
#pragma unroll
  for (int n = 0; n < EACH; n++) {
    if (from[n] < 0) continue;
    float4 sum = fours[n];
    for (int part = 1; part < QKV_PARTS; part++) {
      float4 more = fresh(reinterpret_cast<const float4*>(qkv) + (size_t)part * texts * QKV_ROWS * LANES + from[n]);
      sum = make_float4(sum.x + more.x, sum.y + more.y, sum.z + more.z, sum.w + more.w);
    }
    reinterpret_cast<float4*>(raw)[n * THREADS + threadIdx.x] = sum;
  }
  sync();
  for (int head = warp; head < GROUP + has_new; head += WARPS) {
    bool query = head < GROUP;
    float* to = query ? q[head] : new_key;
    turn_head<HEAD_DIM>([&](int i) { return raw[head][i]; }, query ? q_gain : k_gain, epsilon, angles,
                        query ? q_scale : 1.0f, [&](int i, float number) { to[i] = number; });
  }
  const float* new_value = raw[GROUP + 1];
  sync();
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
  sync();
  for (int i = threadIdx.x; i < GROUP * LANES; i += THREADS) {
    int head = i / LANES;
    Part all;
#pragma unroll
    for (int other = 0; other < WARPS; other++) all.m = fmaxf(all.m, sum_of_warp[other][head].x);
#pragma unroll
    for (int other = 0; other < WARPS; other++) {
      float2 sum = sum_of_warp[other][head];
      float share = sum.x == all.m ? 1.0f : exp2f(sum.x - all.m);  // -inf and -inf have no difference
      all.s += share * sum.y;
      float4 v = of_warp[other][head][i % LANES];
      all.v = make_float4(all.v.x + share * v.x, all.v.y + share * v.y, all.v.z + share * v.z, all.v.w + share * v.w);
    }
    size_t to = ((size_t)text * HEADS + kv_head * GROUP + head) * SPLITS + slice.number;
    access.send(reinterpret_cast<float4*>(parts) + to * LANES + i % LANES, all.v);
    if (i % LANES == 0) access.send(sums + to, make_float2(all.m, all.s));
  }
}
