// Two phases over the whole grid with a barrier of the block only.
// ---
// grid: 4
// block: 32
// cooperative: true
// args: [a float32[128] random, b float32[128] zeros output, c float32[128] output]
// fault: data-race
// array: b
// ---
#include <cooperative_groups.h>
extern "C" __global__ void k(const float* a, float* b, float* c) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  b[i] = 2.0f * a[i];  // FAULT
  __syncthreads();
  c[i] = b[127 - i];  // FAULT
}
