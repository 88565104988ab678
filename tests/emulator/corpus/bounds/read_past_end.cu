// The last thread reads its right neighbour.
// ---
// block: 64
// args: [x float32[64] random, out float32[64] output]
// fault: out-of-bounds
// array: x
// ---
extern "C" __global__ void k(const float* x, float* out) {
  int t = threadIdx.x;
  out[t] = 0.5f * (x[t] + x[t + 1]);  // FAULT
}
