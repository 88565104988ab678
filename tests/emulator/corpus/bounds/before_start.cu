// The first thread reads its left neighbour.
// ---
// block: 64
// args: [x float32[64] random, out float32[64] output]
// fault: out-of-bounds
// array: x
// ---
extern "C" __global__ void k(const float* x, float* out) {
  int t = threadIdx.x;
  out[t] = x[t] - x[t - 1];  // FAULT
}
