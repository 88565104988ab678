// A shared accumulator that nobody set to zero.
// ---
// block: 32
// args: [x float32[32] random, out float32[1] output]
// fault: uninitialised-shared-read
// array: sum
// ---
extern "C" __global__ void k(const float* x, float* out) {
  __shared__ float sum;
  atomicAdd(&sum, x[threadIdx.x]);  // FAULT
  __syncthreads();
  if (threadIdx.x == 0) out[0] = sum;
}
