// The last block to finish adds up, behind a fence and an atomic.
// ---
// grid: 8
// block: 64
// args: [x float32[512] random, partial float32[8] output, counter uint32[1] zeros, out float32[1] output]
// fault: none
// expect: np.allclose(out, x.sum(), rtol=1e-4, atol=1e-3)
// ---
extern "C" __global__ void k(const float* x, float* partial, unsigned* counter, float* out) {
  __shared__ float s[64];
  __shared__ bool last;
  int t = threadIdx.x;
  s[t] = x[blockIdx.x * 64 + t];
  __syncthreads();
  for (int half = 32; half > 0; half /= 2) {
    if (t < half) s[t] += s[t + half];
    __syncthreads();
  }
  if (t == 0) {
    partial[blockIdx.x] = s[0];
    __threadfence();
    last = atomicAdd(counter, 1u) == gridDim.x - 1;
  }
  __syncthreads();
  if (last && t == 0) {
    float total = 0.0f;
    for (int b = 0; b < gridDim.x; b++) total += partial[b];
    out[0] = total;
  }
}
