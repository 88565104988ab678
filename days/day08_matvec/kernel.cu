// Matrix times vector: out[r] = sum over i of weight[r, i] * x[i]
//
// One warp for each row. Each byte of the weight is used once, so their number decides the time: a lane loads eight columns,
// 16 bytes, at once. x is the same for all rows; after the first it comes from a cache.
//
//   x        [columns]                            float
//   weight   [rows, columns], row after row       bfloat16; arithmetic is float32
//   out      [rows]                               float
//   grid     a warp for each row, at least        block: THREADS threads, whole warps, at most 1024
#include <cuda_bf16.h>

#include "warp_sum.cuh"

#ifndef THREADS
#define THREADS 256
#endif
static_assert(THREADS % 32 == 0 && THREADS <= 1024, "a block is whole warps, at most 1024 threads");

// Whether 16 bytes can be loaded from there at once: the hardware refuses an address that is no multiple of 16.
__device__ __forceinline__ bool is_aligned(const void* address) { return (size_t)address % 16 == 0; }

// weight[0] * x[0] + … + weight[7] * x[7]. Both addresses are multiples of 16.
__device__ __forceinline__ float dot8(const __nv_bfloat16* weight, const float* x) {
  float sum = 0.0f;
  // 1. Load eight weights at once, as a uint4, and the eight numbers of x as two float4.
  // 2. Look at the uint4 as four __nv_bfloat162, pairs of neighbours; __bfloat1622float2 widens a pair.
  // 3. Multiply and add up.
  return sum;
}

extern "C" __global__ void matvec(const float* __restrict__ x, const __nv_bfloat16* __restrict__ weight,
                                  float* __restrict__ out, int rows, int columns) {
  int lane = threadIdx.x % 32;
  // 1. Find this warp's row. The last block may have warps without one. Compute the row's offset in size_t.
  // 2. How many of the columns can go eight at a time? None, where the row or x is not aligned.
  // 3. Those: lane 0 takes columns 0 to 7, lane 1 the next eight, …, and the warp goes on by 256.
  // 4. The rest one at a time, side by side.
  // 5. Add up over the warp; one lane stores.
  (void)lane;
}
