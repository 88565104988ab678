// The tail guard returns before the barrier.
// ---
// grid: 2
// block: 32
// args: [x float32[50] random, out float32[50] output, n int32 = 50]
// fault: barrier-divergence
// ---
extern "C" __global__ void k(const float* x, float* out, int n) {
  __shared__ float s[32];
  int t = threadIdx.x, i = blockIdx.x * 32 + t;
  if (i >= n) return;
  s[t] = x[i];
  __syncthreads();  // FAULT
  int last = min(31, n - 1 - (int)blockIdx.x * 32);
  out[i] = s[last - t];
}
