// A transpose without padding: columns of the tile lie in one bank.
// ---
// grid: [2, 2]
// block: [32, 8]
// args: [x float32[64, 64] random, out float32[64, 64] output]
// fault: none
// expect: np.array_equal(out, x.T)
// ---
extern "C" __global__ void k(const float* x, float* out) {
  __shared__ float tile[32][32];
  int column = blockIdx.x * 32 + threadIdx.x;
  for (int r = threadIdx.y; r < 32; r += 8) tile[r][threadIdx.x] = x[(blockIdx.y * 32 + r) * 64 + column];
  __syncthreads();
  int out_column = blockIdx.y * 32 + threadIdx.x;
  for (int r = threadIdx.y; r < 32; r += 8) out[(blockIdx.x * 32 + r) * 64 + out_column] = tile[threadIdx.x][r];
}
