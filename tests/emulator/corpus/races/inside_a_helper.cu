// The missing barrier is in an inlined helper: its lines are the ones to name.
// ---
// block: 64
// args: [x float32[64] random, out float32[64] output]
// fault: data-race
// array: mailbox
// ---
__device__ __forceinline__ float swap_with(float* mailbox, float value, int other) {
  mailbox[threadIdx.x] = value;  // FAULT
  return mailbox[other];         // FAULT
}
extern "C" __global__ void k(const float* x, float* out) {
  __shared__ float mailbox[64];
  int t = threadIdx.x;
  out[t] = swap_with(mailbox, x[t], t ^ 32);
}
