// A ReLU that forgets to write its zeros.
// ---
// block: 64
// args: [x float32[64] random, out float32[64] output]
// fault: uninitialised-output
// array: out
// ---
extern "C" __global__ void k(const float* x, float* out) {
  int t = threadIdx.x;
  if (x[t] > 0.0f) out[t] = x[t];
}
