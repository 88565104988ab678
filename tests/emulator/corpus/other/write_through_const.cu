// The input is overwritten through a cast.
// ---
// block: 32
// args: [x float32[32] random, out float32[32] output]
// fault: read-only-write
// array: x
// ---
extern "C" __global__ void k(const float* __restrict__ x, float* out) {
  int t = threadIdx.x;
  float v = x[t];
  const_cast<float*>(x)[t] = 0.0f;  // FAULT
  out[t] = v;
}
