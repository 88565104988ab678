// Rows of 24 are taken to start every 32 elements.
// ---
// grid: 4
// block: 32
// args: [x float32[4, 24] random, out float32[4, 24] output, n int32 = 24]
// fault: out-of-bounds
// array: x
// ---
extern "C" __global__ void k(const float* x, float* out, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  float v = 0.0f;
  if (threadIdx.x < n) v = x[i];  // FAULT
  if (threadIdx.x < n) out[blockIdx.x * n + threadIdx.x] = v;
}
