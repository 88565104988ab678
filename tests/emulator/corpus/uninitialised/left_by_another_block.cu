// Shared memory does not carry over from one block to the next.
// ---
// grid: 2
// block: 32
// args: [x float32[32] random, out float32[64] output]
// fault: uninitialised-shared-read
// array: s
// ---
extern "C" __global__ void k(const float* x, float* out) {
  __shared__ float s[32];
  int t = threadIdx.x;
  if (blockIdx.x == 0) s[t] = x[t];
  __syncthreads();
  out[blockIdx.x * 32 + t] = s[31 - t];  // FAULT
}
