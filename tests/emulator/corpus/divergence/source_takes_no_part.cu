// The lower half reads lanes that take no part in the shuffle.
// ---
// block: 32
// args: [x float32[32] random, out float32[32] output]
// fault: collective-divergence
// ---
extern "C" __global__ void k(const float* x, float* out) {
  int lane = threadIdx.x;
  float v = x[lane];
  if (lane < 16) v = __shfl_sync(0x0000ffffu, v, lane + 16);  // FAULT
  out[lane] = v;
}
