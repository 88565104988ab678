// A pointer one before the array: thread 0 reads what lies in front of it.
// ---
// block: 64
// args: [x float32[64] random, out float32[64] output]
// fault: out-of-bounds
// array: s
// ---
extern "C" __global__ void k(const float* x, float* out) {
  __shared__ float s[64];
  int t = threadIdx.x;
  s[t] = x[t];
  __syncthreads();
  float* left = s - 1;
  out[t] = left[t];  // FAULT
}
