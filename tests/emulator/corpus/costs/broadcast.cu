// All threads read one word.
// ---
// grid: 16
// block: 256
// args: [x float32[4096] random, out float32[4096] output]
// fault: none
// expect: np.array_equal(out, x + x[0])
// ---
extern "C" __global__ void k(const float* x, float* out) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  out[i] = x[i] + x[blockIdx.x * 0];
}
