// Even and odd lanes meet in different collectives.
// ---
// block: 32
// args: [x float32[32] random, out uint32[32] output]
// fault: collective-divergence
// ---
extern "C" __global__ void k(const float* x, unsigned* out) {
  int lane = threadIdx.x;
  if (lane % 2 == 0) {
    out[lane] = __ballot_sync(0xffffffffu, x[lane] > 0.0f);  // FAULT
  } else {
    out[lane] = __any_sync(0xffffffffu, x[lane] > 0.0f) + (unsigned)__shfl_sync(0xffffffffu, lane, 0);  // FAULT
  }
}
