// Matrix times transposed matrix on tensor cores: out[t, r] = sum over i of x[t, i] * weight[r, i]
//
// A block of four warps computes 64 x 64 elements of out, each warp a quarter, as 2 x 2 fragments of 16 x 16. The block goes
// along the columns in steps of DEPTH: it brings a tile of x and one of the weight into shared memory, and the warps load
// their fragments from there.
//
//   x        [tokens, columns], row after row     bfloat16
//   weight   [rows, columns], row after row       bfloat16; sums are float32
//   out      [tokens, rows], row after row        float
//   grid     tiles of rows, tiles of tokens       block: THREADS threads
#include <cuda_bf16.h>
#include <mma.h>

namespace wmma = nvcuda::wmma;

constexpr int THREADS = 128;
constexpr int TILE = 64;          // tokens and rows of a block
constexpr int DEPTH = 64;         // columns of a tile
constexpr int WIDTH = DEPTH + 8;  // of a tile's row in shared memory: what is read down the rows lies in other banks
constexpr int PART = 32;          // tokens and rows of a warp
constexpr int SIDE = PART / 16;   // fragments of a warp side by side, and one below the other

using Tile = __nv_bfloat16[TILE][WIDTH];
using A = wmma::fragment<wmma::matrix_a, 16, 16, 16, __nv_bfloat16, wmma::row_major>;
using Sums = wmma::fragment<wmma::accumulator, 16, 16, 16, float>;

// matrix[row, column] to matrix[row, column + 7]; 0 for what lies outside.
__device__ __forceinline__ uint4 load8(const __nv_bfloat16* matrix, int rows, int columns, int row, int column) {
  uint4 eight = make_uint4(0, 0, 0, 0);
  // 1. A row outside: eight zeros.
  // 2. All eight inside, and at an address that is a multiple of 16: one load.
  // 3. Else one by one, as many as lie inside. A pointer to `eight` can be cast to one to bfloat16.
  return eight;
}

// Brings a part of a matrix, from first_row and first_column on, into a tile. All threads of the block take part.
__device__ __forceinline__ void bring(Tile& tile, const __nv_bfloat16* matrix, int rows, int columns, int first_row,
                                      int first_column) {
  // Eight neighbouring threads bring a row of the tile, eight columns each, with one 16-byte store each.
}

// Stores a fragment's 16 x 16 sums from out[token, row] on, as far as they lie inside. Which lane holds which of them is the
// hardware's secret, so they go through shared memory. All lanes of the warp take part.
__device__ __forceinline__ void store(float* out, int tokens, int rows, int token, int row, const Sums& sums) {
  __shared__ __align__(32) float staged[THREADS / 32][256];
  float* mine = staged[threadIdx.x / 32];
  wmma::store_matrix_sync(mine, sums, 16, wmma::mem_row_major);
  __syncwarp();
  for (int i = threadIdx.x % 32; i < 256; i += 32) {
    int t = token + i / 16, r = row + i % 16;
    if (t < tokens && r < rows) out[(size_t)t * rows + r] = mine[i];
  }
  __syncwarp();
}

extern "C" __global__ void __launch_bounds__(THREADS)
    tensor_core_matmul(const __nv_bfloat16* __restrict__ x, const __nv_bfloat16* __restrict__ weight,
                       float* __restrict__ out, int tokens, int rows, int columns) {
  __shared__ __align__(32) Tile x_tile;
  __shared__ __align__(32) Tile weight_tile;
  int warp = threadIdx.x / 32, across = TILE / PART;                   // warps side by side
  int my_token = warp / across * PART, my_row = warp % across * PART;  // where this warp's part of the tiles starts
  int first_token = blockIdx.y * TILE, first_row = blockIdx.x * TILE;
  Sums sums[SIDE][SIDE];
  // 1. Set the sums to 0.
  // 2. For each step of columns: bring both tiles. For each 16 columns of them: load SIDE fragments of x and SIDE of
  //    the weight, and add all SIDE x SIDE products to the sums. A tile's rows are WIDTH elements apart.
  // 3. Store the sums.
  (void)x_tile, (void)weight_tile, (void)my_token, (void)my_row, (void)first_token, (void)first_row, (void)sums;
}
