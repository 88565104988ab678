// Lanes of one warp exchange values as if they ran in step; since Volta they need __syncwarp.
// ---
// block: 32
// args: [x float32[32] random, out float32[32] output]
// fault: data-race
// array: s
// ---
extern "C" __global__ void k(const float* x, float* out) {
  __shared__ float s[32];
  int lane = threadIdx.x;
  s[lane] = x[lane];        // FAULT
  out[lane] = s[lane ^ 1];  // FAULT
}
