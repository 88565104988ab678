// A tail guard that returns, with no barrier after it.
// ---
// grid: 2
// block: 32
// args: [x float32[50] random, out float32[50] output, n int32 = 50]
// fault: none
// expect: np.array_equal(out, x + 1)
// ---
extern "C" __global__ void k(const float* x, float* out, int n) {
  int i = blockIdx.x * 32 + threadIdx.x;
  if (i >= n) return;
  out[i] = x[i] + 1.0f;
}
