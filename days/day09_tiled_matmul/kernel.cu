// Matrix times transposed matrix, by tiles: out[t, r] = sum over i of x[t, i] * weight[r, i]
//
// A block computes TILE x TILE elements of out. It goes along the columns of x and weight in steps of TILE: its threads bring a
// tile of each into shared memory, then each thread takes from there what its own sums need. A number that comes from
// device memory once is used TILE times.
//
//   x        [tokens, columns], row after row     float
//   weight   [rows, columns], row after row       bfloat16; arithmetic is float32
//   out      [tokens, rows], row after row        float
//   grid     tiles of rows, tiles of tokens       block: TILE threads along a row of a tile, STEP of such rows
#include <cuda_bf16.h>

constexpr int TILE = 32;                 // a warp is as wide as a tile
constexpr int PER_THREAD = 8;            // sums of a thread: one row of weight, and every STEP-th token of the tile
constexpr int STEP = TILE / PER_THREAD;  // warps of the block

extern "C" __global__ void __launch_bounds__(TILE* STEP)
    matmul(const float* __restrict__ x, const __nv_bfloat16* __restrict__ weight, float* __restrict__ out, int tokens,
           int rows, int columns) {
  // 0. Two tiles in shared memory.
  // 1. Which tokens and which rows of the weight are this block's? Set this thread's sums to 0.
  // 2. For each tile of columns: bring a tile of x and one of weight into shared memory, neighbours by neighbours.
  //    What lies outside of x or weight counts as 0.
  // 3. Add the products of the tile to the sums: column k of row r of the weight, for every token of the thread.
  // 4. Store the sums that lie inside of out. Compute offsets in size_t.
}
