// Coalesced but not aligned: five sectors for four.
// ---
// grid: 16
// block: 256
// args: [x float32[4104] random, out float32[4096] output]
// fault: none
// expect: np.array_equal(out, x[3:4099])
// ---
extern "C" __global__ void k(const float* x, float* out) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  out[i] = x[i + 3];
}
