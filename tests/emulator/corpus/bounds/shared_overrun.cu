// A shifted row needs one more slot.
// ---
// block: 64
// args: [x float32[64] random, out float32[64] output]
// fault: out-of-bounds
// array: s
// ---
extern "C" __global__ void k(const float* x, float* out) {
  __shared__ float s[64];
  int t = threadIdx.x;
  s[t + 1] = x[t];  // FAULT
  if (t == 0) s[0] = 0.0f;
  __syncthreads();
  out[t] = s[t];
}
