// A block that is not a multiple of 32.
// ---
// block: 50
// args: [x float32[50] random, out float32[50] output]
// fault: none
// expect: np.array_equal(out, x[::-1])
// ---
extern "C" __global__ void k(const float* x, float* out) {
  __shared__ float s[50];
  int t = threadIdx.x;
  s[t] = x[t];
  __syncthreads();
  out[t] = s[49 - t];
}
