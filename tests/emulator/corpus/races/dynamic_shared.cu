// The same in dynamic shared memory.
// ---
// block: 64
// shared_mem: 256
// args: [x float32[64] random, out float32[64] output]
// fault: data-race
// array: row
// ---
extern "C" __global__ void k(const float* x, float* out) {
  extern __shared__ float row[];
  int t = threadIdx.x;
  row[t] = x[t];                // FAULT
  out[t] = row[(t + 32) % 64];  // FAULT
}
