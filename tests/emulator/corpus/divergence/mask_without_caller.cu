// The upper lanes call with a mask that leaves them out.
// ---
// block: 32
// args: [x float32[32] random, out float32[32] output]
// fault: collective-divergence
// ---
extern "C" __global__ void k(const float* x, float* out) {
  int lane = threadIdx.x;
  out[lane] = __shfl_xor_sync(0x0000ffffu, x[lane], 1);  // FAULT
}
