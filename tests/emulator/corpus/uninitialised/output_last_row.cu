// One block too few: the last row stays as it was.
// ---
// grid: 7
// block: 32
// args: [x float32[8, 32] random, out float32[8, 32] output]
// fault: uninitialised-output
// array: out
// ---
extern "C" __global__ void k(const float* x, float* out) {
  int i = blockIdx.x * 32 + threadIdx.x;
  out[i] = 2.0f * x[i];
}
