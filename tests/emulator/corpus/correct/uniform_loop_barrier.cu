// The loop is the same for all threads; the guard is inside.
// ---
// block: 64
// args: [x float32[100] random, out float32[64] output, n int32 = 100]
// fault: none
// expect: np.allclose(out, x[63::-1] + np.concatenate([np.zeros(28), x[99:63:-1]]), rtol=1e-5)
// ---
extern "C" __global__ void k(const float* x, float* out, int n) {
  __shared__ float s[64];
  int t = threadIdx.x;
  float sum = 0.0f;
  for (int first = 0; first < n; first += 64) {
    s[t] = first + t < n ? x[first + t] : 0.0f;
    __syncthreads();
    sum += s[63 - t];
    __syncthreads();
  }
  out[t] = sum;
}
