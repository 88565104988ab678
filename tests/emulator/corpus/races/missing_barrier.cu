// A row is turned round through shared memory; nobody waits until all of it is there.
// ---
// block: 64
// args: [x float32[64] random, out float32[64] output]
// fault: data-race
// array: s
// ---
extern "C" __global__ void k(const float* x, float* out) {
  __shared__ float s[64];
  int t = threadIdx.x;
  s[t] = x[t];         // FAULT
  out[t] = s[63 - t];  // FAULT
}
