// Only the first warp fills its part.
// ---
// block: 64
// args: [x float32[64] random, out float32[64] output]
// fault: uninitialised-shared-read
// array: s
// ---
extern "C" __global__ void k(const float* x, float* out) {
  __shared__ float s[64];
  int t = threadIdx.x;
  if (t < 32) s[t] = x[t];
  __syncthreads();
  out[t] = s[t];  // FAULT
}
