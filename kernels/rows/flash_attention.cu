// Prefill: causal attention of a prompt on tensor cores, without a matrix of all scores (Dao 2023, "FlashAttention-2", section 3).
//
// A block has QUERIES queries of one head, and goes over the keys up to its last query, KEYS at a time. A warp has 16 of the queries:
//
//   scores = q · kᵀ       16 × KEYS, WMMA products of 16 × 16 × 16, into shared memory
//   softmax, online       two lanes a row: the row's new maximum m, exp2(score - m) as 16 bits, the old output times exp2(old m - m)
//   output += p · v       16 × HEAD_DIM, in shared memory between two rounds
//
// Scores are in units of log2(e), from q_scale. Sums are float32; q, k, v and p have 11 bits.
//
//   q16      [rows, HEADS, HEAD_DIM] half                     k16, v16   [rows, KV_HEADS, HEAD_DIM] half
//   out      [rows, HEADS, HEAD_DIM] half                     scale      [rows] float: 1
//   grid     blocks of queries × HEADS (x, y)                 block      QUERIES / 16 warps
//   shared   see `Shared`
#include <cuda_fp16.h>
#include <math_constants.h>
#include <mma.h>

#include "../decode/shapes.cuh"

#ifndef QUERIES
#define QUERIES 64
#endif
#ifndef KEYS
#define KEYS 64
#endif
constexpr int ROW_WARPS = QUERIES / 16;
static_assert(HEAD_DIM % 16 == 0 && KEYS % 32 == 0 && QUERIES % 16 == 0, "whole tiles of 16 × 16");

// Rows are a little longer than their numbers: neighbours begin in other banks.
constexpr int WIDE = HEAD_DIM + 8, SCORES = KEYS + 4, PROBABILITIES = KEYS + 8, OUTPUT = HEAD_DIM + 4;

struct Shared {
  __half q[QUERIES][WIDE];
  __half k[KEYS][WIDE];
  __half v[KEYS][WIDE];
  float scores[ROW_WARPS][16][SCORES];
  __half p[ROW_WARPS][16][PROBABILITIES];
  float output[ROW_WARPS][16][OUTPUT];
};

using namespace nvcuda;
using Left = wmma::fragment<wmma::matrix_a, 16, 16, 16, __half, wmma::row_major>;
using Right = wmma::fragment<wmma::matrix_b, 16, 16, 16, __half, wmma::row_major>;
using RightTurned = wmma::fragment<wmma::matrix_b, 16, 16, 16, __half, wmma::col_major>;
using Sums = wmma::fragment<wmma::accumulator, 16, 16, 16, float>;

// Rows first … first + count - 1 of one head, 16 bytes at a time; zeros past the last row.
__device__ __forceinline__ void load_tile(__half (*to)[WIDE], const __half* from, int first, int count, int rows,
                                          int heads, int head) {
  constexpr int EIGHTS = HEAD_DIM / 8;
  for (int i = threadIdx.x; i < count * EIGHTS; i += ROW_WARPS * 32) {
    int row = i / EIGHTS, eight = i % EIGHTS;
    uint4 value = make_uint4(0, 0, 0, 0);
    if (first + row < rows) {
      value = reinterpret_cast<const uint4*>(from + ((size_t)(first + row) * heads + head) * HEAD_DIM)[eight];
    }
    *reinterpret_cast<uint4*>(&to[row][8 * eight]) = value;
  }
}

extern "C" __global__ void __launch_bounds__(ROW_WARPS * 32)
    rows_flash_attention(const __half* __restrict__ q16, const __half* __restrict__ k16, const __half* __restrict__ v16,
                         __half* __restrict__ out, float* __restrict__ scale, int rows) {
  extern __shared__ uint4 memory[];
  Shared& shared = *reinterpret_cast<Shared*>(memory);
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32, head = blockIdx.y, kv_head = head / (HEADS / KV_HEADS);
  int first = (gridDim.x - 1 - blockIdx.x) * QUERIES;                    // the longest blocks begin first
  int row = lane / 2, side = lane % 2, query = first + warp * 16 + row;  // two lanes share a row
  float* of_output = &shared.output[warp][row][side * (HEAD_DIM / 2)];
  const float* of_scores = &shared.scores[warp][row][side * (KEYS / 2)];
  __half* of_p = &shared.p[warp][row][side * (KEYS / 2)];

  load_tile(shared.q, q16, first, QUERIES, rows, HEADS, head);
  for (int i = 0; i < HEAD_DIM / 2; i++) of_output[i] = 0.0f;
  float largest = -CUDART_INF_F, sum = 0.0f;

  int last = min(first + QUERIES, rows);
  for (int key = 0; key < last; key += KEYS) {
    __syncthreads();  // all warps are done with the keys before
    load_tile(shared.k, k16, key, KEYS, rows, KV_HEADS, kv_head);
    load_tile(shared.v, v16, key, KEYS, rows, KV_HEADS, kv_head);
    __syncthreads();

#pragma unroll
    for (int n = 0; n < KEYS; n += 16) {
      Sums scores;
      wmma::fill_fragment(scores, 0.0f);
#pragma unroll
      for (int d = 0; d < HEAD_DIM; d += 16) {
        Left a;
        RightTurned b;
        wmma::load_matrix_sync(a, &shared.q[warp * 16][d], WIDE);
        wmma::load_matrix_sync(b, &shared.k[n][d], WIDE);
        wmma::mma_sync(scores, a, b, scores);
      }
      wmma::store_matrix_sync(&shared.scores[warp][0][n], scores, SCORES, wmma::mem_row_major);
    }
    __syncwarp();

    int seen = min(KEYS / 2, query + 1 - key - side * (KEYS / 2));  // of this lane's keys, those up to its query
    float now = largest;
    for (int i = 0; i < seen; i++) now = fmaxf(now, of_scores[i]);
    now = fmaxf(now, __shfl_xor_sync(0xffffffffu, now, 1));
    float share = largest == now ? 1.0f : exp2f(largest - now);  // -inf and -inf have no difference
    float added = 0.0f;
    for (int i = 0; i < KEYS / 2; i++) {
      float p = i < seen ? exp2f(of_scores[i] - now) : 0.0f;
      of_p[i] = __float2half(p);
      added += p;
    }
    sum = sum * share + added + __shfl_xor_sync(0xffffffffu, added, 1);
    largest = now;
    for (int i = 0; i < HEAD_DIM / 2; i++) of_output[i] *= share;
    __syncwarp();

#pragma unroll
    for (int d = 0; d < HEAD_DIM; d += 16) {
      Sums output;
      wmma::load_matrix_sync(output, &shared.output[warp][0][d], OUTPUT, wmma::mem_row_major);
#pragma unroll
      for (int n = 0; n < KEYS; n += 16) {
        Left a;
        Right b;
        wmma::load_matrix_sync(a, &shared.p[warp][0][n], PROBABILITIES);
        wmma::load_matrix_sync(b, &shared.v[n][d], WIDE);
        wmma::mma_sync(output, a, b, output);
      }
      wmma::store_matrix_sync(&shared.output[warp][0][d], output, OUTPUT, wmma::mem_row_major);
    }
    __syncwarp();
  }

  if (query >= rows) return;
  __half* to = out + ((size_t)query * HEADS + head) * HEAD_DIM + side * (HEAD_DIM / 2);
  for (int i = 0; i < HEAD_DIM / 2; i++) to[i] = __float2half(of_output[i] / sum);
  if (head == 0 && side == 0) scale[query] = 1.0f;
}
