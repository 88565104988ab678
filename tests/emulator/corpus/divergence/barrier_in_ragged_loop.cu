// Threads go round the loop a different number of times.
// ---
// block: 64
// args: [x float32[100] random, out float32[64] output, n int32 = 100]
// fault: barrier-divergence
// ---
extern "C" __global__ void k(const float* x, float* out, int n) {
  __shared__ float s[64];
  int t = threadIdx.x;
  float sum = 0.0f;
  for (int i = t; i < n; i += 64) {
    s[t] = x[i];
    __syncthreads();  // FAULT
    sum += s[t];
  }
  out[t] = sum;
}
