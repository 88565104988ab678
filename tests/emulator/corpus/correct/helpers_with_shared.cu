// Shared arrays inside a helper and as its argument.
// ---
// block: 64
// args: [x float32[64] random, out float32[2] output]
// fault: none
// expect: np.allclose(out, [x.sum(), x.max()], rtol=1e-4, atol=1e-4)
// ---
__device__ float block_sum(float v) {
  __shared__ float s[64];
  s[threadIdx.x] = v;
  __syncthreads();
  for (int half = 32; half > 0; half /= 2) {
    if (threadIdx.x < half) s[threadIdx.x] += s[threadIdx.x + half];
    __syncthreads();
  }
  return s[0];
}
__device__ void keep_larger(float (&slots)[64], int t, int half) {
  if (t < half) slots[t] = fmaxf(slots[t], slots[t + half]);
}
extern "C" __global__ void k(const float* x, float* out) {
  __shared__ float slots[64];
  int t = threadIdx.x;
  float total = block_sum(x[t]);
  slots[t] = x[t];
  __syncthreads();
  for (int half = 32; half > 0; half /= 2) {
    keep_larger(slots, t, half);
    __syncthreads();
  }
  if (t == 0) out[0] = total, out[1] = slots[0];
}
