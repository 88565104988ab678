// Every eighth word: a sector for each.
// ---
// grid: 8
// block: 256
// args: [x float32[16384] random, out float32[2048] output]
// fault: none
// expect: np.array_equal(out, x[::8])
// ---
extern "C" __global__ void k(const float* x, float* out) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  out[i] = x[8 * i];
}
