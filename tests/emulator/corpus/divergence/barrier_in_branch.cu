// Half of the block goes to the barrier.
// ---
// block: 64
// args: [x float32[64] random, out float32[64] output]
// fault: barrier-divergence
// ---
extern "C" __global__ void k(const float* x, float* out) {
  __shared__ float s[64];
  int t = threadIdx.x;
  s[t] = x[t];
  if (t < 32) {
    __syncthreads();  // FAULT
    out[t] = s[63 - t];
  } else {
    out[t] = x[t];
  }
}
