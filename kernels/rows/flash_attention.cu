// Prefill: causal attention of a prompt on tensor cores, without a matrix of all scores (Dao 2023, "FlashAttention-2", section 3).
//
// A block has QUERIES queries of one head, and goes over the keys up to its last query, KEYS at a time: while it works on some, the
// next ones are on their way to shared memory. A warp has TILES times 16 queries, and all that belongs to them in registers:
//
//   scores = q · kᵀ       16 × KEYS
//   softmax, online       four lanes share a row: its new maximum m, p = exp2(score - m), the old output times exp2(old m - m)
//   output += p · v       16 × HEAD_DIM; the scores' registers become p's
//
// Scores are in units of log2(e), from q_scale. Sums are float32. With one part q, k, v and p have 11 bits each; with two, 22, and
// of their products' four only the one of both second parts is left out: it is below 2^-22.
//
//   q16      [PARTS, rows, HEADS, HEAD_DIM] half              k16, v16   [PARTS, rows, KV_HEADS, HEAD_DIM] half
//   out      [PARTS, rows, HEADS, HEAD_DIM] half
//   grid     HEADS × blocks of queries (x, y)                 block      ROW_WARPS warps
//   shared   STAGES
#include <math_constants.h>

#include "../decode/async_copy.cuh"
#include "../decode/shapes.cuh"
#include "parts.cuh"
#include "warp_mma.cuh"

#ifndef TILES
#define TILES 1
#endif
#ifndef KEYS
#define KEYS 64
#endif
constexpr int ROW_WARPS = 4, OF_WARP = 16 * TILES, QUERIES = ROW_WARPS * OF_WARP;
constexpr int WIDE = HEAD_DIM + 8;  // rows are a little longer than their numbers: neighbours begin in other banks
static_assert(HEAD_DIM % 16 == 0 && KEYS % 16 == 0, "whole tiles of 16 × 16");
static_assert(QUERIES <= 2 * KEYS, "the queries pass through the memory of a stage");

using Rows = __half[PARTS][KEYS][WIDE];
struct Stage {
  Rows k, v;
};

// Rows first … first + COUNT - 1 of one head, and of each part; past the last row, that one again: nobody looks at it.
template <int COUNT>
__device__ __forceinline__ void load_rows(__half* to, const __half* from, int first, int rows, int heads, int head) {
  constexpr int EIGHTS = HEAD_DIM / 8;
#pragma unroll
  for (int part = 0; part < PARTS; part++) {
    for (int i = threadIdx.x; i < COUNT * EIGHTS; i += ROW_WARPS * 32) {
      int row = i / EIGHTS, eight = i % EIGHTS;
      size_t at = (((size_t)part * rows + min(first + row, rows - 1)) * heads + head) * HEAD_DIM + 8 * eight;
      copy16(reinterpret_cast<uint4*>(to + (part * COUNT + row) * WIDE + 8 * eight),
             reinterpret_cast<const uint4*>(from + at));
    }
  }
}

// Two numbers, rounded, and in each next register what the ones before have left of them.
template <int COUNT>
__device__ __forceinline__ void split(unsigned (*to)[COUNT], int at, float x, float y) {
#pragma unroll
  for (int part = 0; part < PARTS; part++) {
    __half2 pair = __floats2half2_rn(x, y);
    to[part][at] = as_register(pair);
    float2 rounded = __half22float2(pair);
    x -= rounded.x;
    y -= rounded.y;
  }
}

extern "C" __global__ void __launch_bounds__(ROW_WARPS * 32)
    rows_flash_attention(const __half* __restrict__ q16, const __half* __restrict__ k16, const __half* __restrict__ v16,
                         __half* __restrict__ out, int rows) {
  extern __shared__ uint4 memory[];
  Stage* stages = reinterpret_cast<Stage*>(memory);
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32, head = blockIdx.x, kv_head = head / (HEADS / KV_HEADS);
  int block = (gridDim.y - 1 - blockIdx.y) * QUERIES;  // the longest blocks begin first
  int first = block + warp * OF_WARP;                  // this warp's first query
  int low = lane % 8 + lane / 8 % 2 * 8,
      high = lane / 16 * 8;  // where this lane's row of four matrices begins: in a and v,
  int low_k = lane % 8 + lane / 16 * 8, high_k = lane / 8 % 2 * 8;  // and in k, whose rows are b's columns

  auto load_keys = [&](int key, Stage& stage) {
    load_rows<KEYS>(&stage.k[0][0][0], k16, key, rows, KV_HEADS, kv_head);
    load_rows<KEYS>(&stage.v[0][0][0], v16, key, rows, KV_HEADS, kv_head);
  };
  __half* queries = reinterpret_cast<__half*>(&stages[1]);
  load_rows<QUERIES>(queries, q16, block, rows, HEADS, head);
  end_group();
  load_keys(0, stages[0]);
  end_group();
  wait_for_group<1>();
  __syncthreads();
  unsigned q[PARTS][TILES][HEAD_DIM / 16][4];
#pragma unroll
  for (int part = 0; part < PARTS; part++) {
#pragma unroll
    for (int tile = 0; tile < TILES; tile++) {
#pragma unroll
      for (int d = 0; d < HEAD_DIM / 16; d++) {
        int row = part * QUERIES + warp * OF_WARP + tile * 16 + low;
        load_matrices(q[part][tile][d], queries + row * WIDE + 16 * d + high);
      }
    }
  }

  float output[TILES][HEAD_DIM / 8][4] = {}, largest[TILES][2], sum[TILES][2] = {};
#pragma unroll
  for (int tile = 0; tile < TILES; tile++) largest[tile][0] = largest[tile][1] = -CUDART_INF_F;

  int last = min(block + QUERIES, rows);
  for (int key = 0, turn = 0; key < last; key += KEYS, turn ^= 1) {
    wait_for_group<0>();
    __syncthreads();  // these keys are there, and all warps are done with the ones before: theirs is the next ones' memory
    if (key + KEYS < last) load_keys(key + KEYS, stages[turn ^ 1]);
    end_group();
    if (key >= first + OF_WARP) continue;  // all of them come after this warp's queries
    const Stage& stage = stages[turn];

    float scores[TILES][KEYS / 8][4] = {};
#pragma unroll
    for (int d = 0; d < HEAD_DIM / 16; d++) {
#pragma unroll
      for (int n = 0; n < KEYS / 16; n++) {
#pragma unroll
        for (int part = 0; part < PARTS; part++) {
          unsigned k[4];
          load_matrices(k, &stage.k[part][16 * n + low_k][16 * d + high_k]);
#pragma unroll
          for (int of_q = 0; of_q < PARTS - part; of_q++) {
#pragma unroll
            for (int tile = 0; tile < TILES; tile++) {
              multiply_add(scores[tile][2 * n], q[of_q][tile][d], k[0], k[1]);
              multiply_add(scores[tile][2 * n + 1], q[of_q][tile][d], k[2], k[3]);
            }
          }
        }
      }
    }

#pragma unroll
    for (int tile = 0; tile < TILES; tile++) {
#pragma unroll
      for (int side = 0; side < 2; side++) {  // of this lane's two rows
        int query = first + tile * 16 + lane / 4 + 8 * side;
        if (key + KEYS - 1 > first + tile * 16) {
#pragma unroll
          for (int n = 0; n < KEYS / 8; n++) {
#pragma unroll
            for (int i = 0; i < 2; i++) {
              if (key + 8 * n + lane % 4 * 2 + i > query) scores[tile][n][2 * side + i] = -CUDART_INF_F;
            }
          }
        }
        float now = largest[tile][side];
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++) {
          now = fmaxf(now, fmaxf(scores[tile][n][2 * side], scores[tile][n][2 * side + 1]));
        }
        now = fmaxf(now, __shfl_xor_sync(0xffffffffu, now, 1));
        now = fmaxf(now, __shfl_xor_sync(0xffffffffu, now, 2));
        float share = exp2_quick(largest[tile][side] - now), added = 0.0f;  // every query has seen key 0
        largest[tile][side] = now;
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++) {
#pragma unroll
          for (int i = 0; i < 2; i++) {
            float p = exp2_quick(scores[tile][n][2 * side + i] - now);
            scores[tile][n][2 * side + i] = p;
            added += p;
          }
        }
        sum[tile][side] = sum[tile][side] * share + added;
#pragma unroll
        for (int n = 0; n < HEAD_DIM / 8; n++) {
          output[tile][n][2 * side] *= share;
          output[tile][n][2 * side + 1] *= share;
        }
      }
    }

#pragma unroll
    for (int n = 0; n < KEYS / 16; n++) {
      unsigned p[TILES][PARTS][4];
#pragma unroll
      for (int tile = 0; tile < TILES; tile++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
          const float* two = &scores[tile][2 * n + i / 2][i % 2 * 2];
          split(p[tile], i, two[0], two[1]);
        }
      }
#pragma unroll
      for (int d = 0; d < HEAD_DIM / 16; d++) {
#pragma unroll
        for (int part = 0; part < PARTS; part++) {
          unsigned v[4];
          load_matrices_turned(v, &stage.v[part][16 * n + low][16 * d + high]);
#pragma unroll
          for (int of_p = 0; of_p < PARTS - part; of_p++) {
#pragma unroll
            for (int tile = 0; tile < TILES; tile++) {
              multiply_add(output[tile][2 * d], p[tile][of_p], v[0], v[1]);
              multiply_add(output[tile][2 * d + 1], p[tile][of_p], v[2], v[3]);
            }
          }
        }
      }
    }
  }

#pragma unroll
  for (int tile = 0; tile < TILES; tile++) {
#pragma unroll
    for (int side = 0; side < 2; side++) {
      float total = sum[tile][side];
      total += __shfl_xor_sync(0xffffffffu, total, 1);
      total += __shfl_xor_sync(0xffffffffu, total, 2);
      int query = first + tile * 16 + lane / 4 + 8 * side;
      if (query >= rows) continue;
      __half* to = out + ((size_t)query * HEADS + head) * HEAD_DIM + lane % 4 * 2;
#pragma unroll
      for (int n = 0; n < HEAD_DIM / 8; n++) {
        unsigned pair[PARTS][1];
        split(pair, 0, output[tile][n][2 * side] / total, output[tile][n][2 * side + 1] / total);
#pragma unroll
        for (int part = 0; part < PARTS; part++) {
          *reinterpret_cast<unsigned*>(to + (size_t)part * rows * HEADS * HEAD_DIM + 8 * n) = pair[part][0];
        }
      }
    }
  }
}
