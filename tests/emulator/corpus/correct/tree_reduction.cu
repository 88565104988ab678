// A barrier after each step.
// ---
// block: 128
// args: [x float32[128] random, out float32[1] output]
// fault: none
// expect: np.allclose(out, x.sum(), rtol=1e-4, atol=1e-4)
// ---
extern "C" __global__ void k(const float* x, float* out) {
  __shared__ float s[128];
  int t = threadIdx.x;
  s[t] = x[t];
  __syncthreads();
  for (int half = 64; half > 0; half /= 2) {
    if (t < half) s[t] += s[t + half];
    __syncthreads();
  }
  if (t == 0) out[0] = s[0];
}
