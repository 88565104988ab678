// A block of 60 threads in three dimensions.
// ---
// grid: [2, 1, 2]
// block: [4, 3, 5]
// args: [out int32[240] output]
// fault: none
// expect: np.array_equal(np.sort(out), np.arange(240))
// ---
extern "C" __global__ void k(int* out) {
  __shared__ int s[5][3][4];
  int x = threadIdx.x, y = threadIdx.y, z = threadIdx.z;
  int block = blockIdx.z * gridDim.x + blockIdx.x;
  s[z][y][x] = block * 60 + (z * 3 + y) * 4 + x;
  __syncthreads();
  out[block * 60 + (z * 3 + y) * 4 + x] = s[4 - z][2 - y][3 - x];
}
