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
  // solve: begin
  // stub: // 0. Two tiles in shared memory.
  // stub: // 1. Which tokens and which rows of the weight are this block's? Set this thread's sums to 0.
  // stub: // 2. For each tile of columns: bring a tile of x and one of weight into shared memory, neighbours by neighbours.
  // stub: //    What lies outside of x or weight counts as 0.
  // stub: // 3. Add the products of the tile to the sums: column k of row r of the weight, for every token of the thread.
  // stub: // 4. Store the sums that lie inside of out. Compute offsets in size_t.
  __shared__ float x_tile[TILE][TILE];
  __shared__ float weight_tile[TILE][TILE + 1];  // one wider: down a column, each element lies in another bank
  int first_token = blockIdx.y * TILE, first_row = blockIdx.x * TILE;
  float sums[PER_THREAD] = {};
  for (int first = 0; first < columns; first += TILE) {
    int column = first + threadIdx.x;
    for (int i = threadIdx.y; i < TILE; i += STEP) {
      int token = first_token + i, row = first_row + i;
      bool in_x = token < tokens && column < columns, in_weight = row < rows && column < columns;
      x_tile[i][threadIdx.x] = in_x ? x[(size_t)token * columns + column] : 0.0f;
      weight_tile[i][threadIdx.x] = in_weight ? __bfloat162float(weight[(size_t)row * columns + column]) : 0.0f;
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < TILE; k++) {
      float w = weight_tile[threadIdx.x][k];
      for (int j = 0; j < PER_THREAD; j++) sums[j] += x_tile[threadIdx.y + j * STEP][k] * w;
    }
    __syncthreads();
  }
  int row = first_row + threadIdx.x;
  for (int j = 0; j < PER_THREAD; j++) {
    int token = first_token + threadIdx.y + j * STEP;
    if (token < tokens && row < rows) out[(size_t)token * rows + row] = sums[j];
  }
  // solve: end
}
