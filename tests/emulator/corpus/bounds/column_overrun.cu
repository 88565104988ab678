// A tile declared one column too narrow: the overrun lands in the next row of the same array.
// ---
// block: [32, 32]
// args: [x float32[32, 32] random, out float32[32, 32] output]
// fault: out-of-bounds
// array: tile
// ---
extern "C" __global__ void k(const float* x, float* out) {
  __shared__ float tile[32][31];
  int column = threadIdx.x, row = threadIdx.y;
  tile[row][column] = x[row * 32 + column];  // FAULT
  __syncthreads();
  out[column * 32 + row] = tile[row][column];
}
