// Words 2 apart: 2 lanes want one bank.
// ---
// grid: 2
// block: 32
// args: [x float32[64] random, out float32[64] output]
// fault: none
// expect: np.array_equal(out, x)
// ---
extern "C" __global__ void k(const float* x, float* out) {
  __shared__ float s[32 * 2];
  int t = threadIdx.x, i = blockIdx.x * 32 + t;
  s[t * 2] = x[i];
  __syncthreads();
  out[i] = s[t * 2];
}
