// A tree over 64 slots of which a block of 48 filled 48.
// ---
// block: 48
// args: [x float32[48] random, out float32[1] output]
// fault: uninitialised-shared-read
// array: s
// ---
extern "C" __global__ void k(const float* x, float* out) {
  __shared__ float s[64];
  int t = threadIdx.x;
  s[t] = x[t];
  __syncthreads();
  for (int half = 32; half > 0; half /= 2) {
    if (t < half) s[t] += s[t + half];  // FAULT
    __syncthreads();
  }
  if (t == 0) out[0] = s[0];
}
