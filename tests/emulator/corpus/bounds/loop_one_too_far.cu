// <= instead of <.
// ---
// block: 32
// args: [x float32[100] random, out float32[32] output, n int32 = 100]
// fault: out-of-bounds
// array: x
// ---
extern "C" __global__ void k(const float* x, float* out, int n) {
  float sum = 0.0f;
  for (int i = threadIdx.x; i <= n; i += blockDim.x) sum += x[i];  // FAULT
  out[threadIdx.x] = sum;
}
