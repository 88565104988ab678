// The argument is a slice of a larger array: the memory behind it exists, but was not given.
// ---
// block: 32
// args: [x float32[32] of 64 random, out float32[32] output]
// fault: out-of-bounds
// array: x
// ---
extern "C" __global__ void k(const float* x, float* out) {
  int t = threadIdx.x;
  out[t] = x[t + 1];  // FAULT
}
