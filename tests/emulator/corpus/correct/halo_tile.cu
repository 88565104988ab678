// A stencil with its halo.
// ---
// grid: 2
// block: 64
// args: [x float32[128] random, out float32[128] output]
// fault: none
// expect: np.allclose(out, np.convolve(x, np.ones(3), 'same'), rtol=1e-4, atol=1e-4)
// ---
extern "C" __global__ void k(const float* x, float* out) {
  __shared__ float tile[66];
  int t = threadIdx.x, i = blockIdx.x * 64 + t;
  tile[t + 1] = x[i];
  if (t == 0) tile[0] = i > 0 ? x[i - 1] : 0.0f;
  if (t == 63) tile[65] = i < 127 ? x[i + 1] : 0.0f;
  __syncthreads();
  out[i] = tile[t] + tile[t + 1] + tile[t + 2];
}
