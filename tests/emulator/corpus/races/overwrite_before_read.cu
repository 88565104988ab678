// The next round writes the tile while others still read it: the second barrier of the loop is missing.
// ---
// block: 64
// args: [x float32[256] random, out float32[64] output]
// fault: data-race
// array: s
// ---
extern "C" __global__ void k(const float* x, float* out) {
  __shared__ float s[64];
  int t = threadIdx.x;
  float sum = 0.0f;
  for (int step = 0; step < 4; step++) {
    s[t] = x[step * 64 + t];  // FAULT
    __syncthreads();
    sum += s[(t + 1) % 64];  // FAULT
  }
  out[t] = sum;
}
