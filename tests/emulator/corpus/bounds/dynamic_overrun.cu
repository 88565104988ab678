// The launch asks for 63 floats and the kernel uses 64.
// ---
// block: 64
// shared_mem: 252
// args: [x float32[64] random, out float32[64] output]
// fault: out-of-bounds
// array: row
// ---
extern "C" __global__ void k(const float* x, float* out) {
  extern __shared__ float row[];
  int t = threadIdx.x;
  row[t] = x[t];  // FAULT
  __syncthreads();
  out[t] = row[63 - t];
}
