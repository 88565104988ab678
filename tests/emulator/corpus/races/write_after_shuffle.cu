// Shuffles order registers, not shared memory: a barrier is still needed before the other warp's sum is read.
// ---
// block: 64
// args: [x float32[64] random, out float32[64] output]
// fault: data-race
// array: sums
// ---
extern "C" __global__ void k(const float* x, float* out) {
  __shared__ float sums[2];
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  float v = x[threadIdx.x];
  for (int d = 16; d > 0; d /= 2) v += __shfl_xor_sync(0xffffffffu, v, d);
  if (lane == 0) sums[warp] = v;         // FAULT
  out[threadIdx.x] = sums[0] + sums[1];  // FAULT
}
