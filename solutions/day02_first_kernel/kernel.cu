// Widening: float32 from bfloat16, one thread for each element. No rounding, and no arithmetic: the bits move.
//
//   src    [n]                bfloat16
//   dst    [n], or longer     float32; what lies behind the first n elements stays as it is
//   grid   enough blocks for n threads, and usually for a few more; block: any number of threads
#include <cuda_bf16.h>

extern "C" __global__ void widen(const __nv_bfloat16* __restrict__ src, float* __restrict__ dst, int n) {
  // solve: begin
  // stub: // 1. Which element is this thread's? From blockIdx.x, blockDim.x and threadIdx.x.
  // stub: // 2. The last threads of the last block may have none.
  // stub: // 3. __bfloat16_as_ushort gives 16 bits; __uint_as_float takes 32.
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) dst[i] = __uint_as_float((unsigned)__bfloat16_as_ushort(src[i]) << 16);
  // solve: end
}
