// In place through two parameters.
// ---
// block: 32
// args: [x float32[32] random, y float32[32] same x]
// fault: none
// expect: np.array_equal(y, x_before + 1)
// ---
extern "C" __global__ void k(const float* x, float* y) {
  int t = threadIdx.x;
  y[t] = x[t] + 1.0f;
}
