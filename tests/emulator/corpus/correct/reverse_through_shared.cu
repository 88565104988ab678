// The plain exchange with its barrier.
// ---
// block: 64
// args: [x float32[64] random, out float32[64] output]
// fault: none
// expect: np.array_equal(out, x[::-1])
// ---
extern "C" __global__ void k(const float* x, float* out) {
  __shared__ float s[64];
  int t = threadIdx.x;
  s[t] = x[t];
  __syncthreads();
  out[t] = s[63 - t];
}
