// Half of the lanes shuffle with a mask that names all of them.
// ---
// block: 32
// args: [x float32[32] random, out float32[32] output]
// fault: collective-divergence
// ---
extern "C" __global__ void k(const float* x, float* out) {
  int lane = threadIdx.x;
  float v = x[lane];
  if (lane < 16) v += __shfl_down_sync(0xffffffffu, v, 8);  // FAULT
  out[lane] = v;
}
