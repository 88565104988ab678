// Each thread updates its own element.
// ---
// grid: 2
// block: 32
// args: [x float32[64] random]
// fault: none
// expect: np.array_equal(x, 3 * x_before)
// ---
extern "C" __global__ void k(float* x) {
  int i = blockIdx.x * 32 + threadIdx.x;
  x[i] = 3.0f * x[i];
}
