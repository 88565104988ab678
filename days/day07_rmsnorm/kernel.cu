// RMSNorm: out[r, i] = x[r, i] / sqrt(mean over i of x[r, i]^2 + eps) * weight[i]     (Zhang and Sennrich, 2019)
//
// One block for each row. The row is read twice: once for the sum of squares, once to scale it. The second time it comes
// from a cache, so device memory sees each byte of x once, and each byte of out once.
//
//   x, out   [rows, hidden], row after row        ELEMENT: float or __nv_bfloat16; arithmetic is float32
//   weight   [hidden]                             hidden is at least 1
//   grid     rows blocks                          block: THREADS threads, whole warps, at most 1024
#include <cuda_bf16.h>

#ifndef ELEMENT
#define ELEMENT float
#endif
// Step by THREADS, not by blockDim.x: knowing the step, the compiler starts several loads before it waits for the first.
#ifndef THREADS
#define THREADS 256
#endif
static_assert(THREADS % 32 == 0 && THREADS <= 1024, "a block is whole warps, at most 1024 threads");

__device__ __forceinline__ float to_float(float value) { return value; }
__device__ __forceinline__ float to_float(__nv_bfloat16 value) { return __bfloat162float(value); }
__device__ __forceinline__ void store(float* place, float value) { *place = value; }
__device__ __forceinline__ void store(__nv_bfloat16* place, float value) { *place = __float2bfloat16(value); }

// The sum of `value` over all threads of the block; every thread gets it, and all of them must call it. A second call in the
// same kernel needs a barrier before it: `partial` may still be read.
__device__ float block_sum(float value) {
  constexpr int warps = THREADS / 32;
  __shared__ float partial[warps];
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  // 1. Each warp adds up its 32 values with shuffles.
  // 2. One lane of each warp leaves the warp's sum in `partial`.
  // 3. Every thread adds up all the warps' sums.
  (void)partial, (void)lane, (void)warp;
  return value;
}

extern "C" __global__ void rmsnorm(const ELEMENT* __restrict__ x, const ELEMENT* __restrict__ weight,
                                   ELEMENT* __restrict__ out, int hidden, float eps) {
  // 1. Find this block's row of x and of out. Rows times hidden can pass 2^31: compute the offset in size_t.
  // 2. Each thread adds up the squares of its share of the row: columns threadIdx.x, threadIdx.x + THREADS, …
  // 3. block_sum makes the row's sum of them; from it comes the factor that scales the row.
  // 4. Each thread scales its share of the row, times the weight, and stores it.
}
