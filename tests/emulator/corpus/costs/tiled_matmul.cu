// Shared-memory tiles.
// ---
// grid: [2, 2]
// block: [16, 16]
// args: [a float32[32, 32] random, b float32[32, 32] random, c float32[32, 32] output]
// fault: none
// expect: np.allclose(c, a @ b, rtol=1e-3, atol=1e-3)
// ---
extern "C" __global__ void k(const float* a, const float* b, float* c) {
  __shared__ float ta[16][16], tb[16][16];
  int x = threadIdx.x, y = threadIdx.y, row = blockIdx.y * 16 + y, column = blockIdx.x * 16 + x;
  float sum = 0.0f;
  for (int first = 0; first < 32; first += 16) {
    ta[y][x] = a[row * 32 + first + x];
    tb[y][x] = b[(first + y) * 32 + column];
    __syncthreads();
#pragma unroll 1
    for (int i = 0; i < 16; i++) sum += ta[y][i] * tb[i][x];
    __syncthreads();
  }
  c[row * 32 + column] = sum;
}
