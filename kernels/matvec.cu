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
  // solve: begin
  // stub: // 1. Load eight weights at once, as a uint4, and the eight numbers of x as two float4.
  // stub: // 2. Look at the uint4 as four __nv_bfloat162, pairs of neighbours; __bfloat1622float2 widens a pair.
  // stub: // 3. Multiply and add up.
  uint4 eight = *reinterpret_cast<const uint4*>(weight);
  const __nv_bfloat162* pairs = reinterpret_cast<const __nv_bfloat162*>(&eight);
  float4 low = reinterpret_cast<const float4*>(x)[0], high = reinterpret_cast<const float4*>(x)[1];
  float2 a = __bfloat1622float2(pairs[0]), b = __bfloat1622float2(pairs[1]);
  float2 c = __bfloat1622float2(pairs[2]), d = __bfloat1622float2(pairs[3]);
  sum += a.x * low.x + a.y * low.y + b.x * low.z + b.y * low.w;
  sum += c.x * high.x + c.y * high.y + d.x * high.z + d.y * high.w;
  // solve: end
  return sum;
}

extern "C" __global__ void matvec(const float* __restrict__ x, const __nv_bfloat16* __restrict__ weight,
                                  float* __restrict__ out, int rows, int columns) {
  int lane = threadIdx.x % 32;
  // solve: begin
  // stub: // 1. Find this warp's row. The last block may have warps without one. Compute the row's offset in size_t.
  // stub: // 2. How many of the columns can go eight at a time? None, where the row or x is not aligned.
  // stub: // 3. Those: lane 0 takes columns 0 to 7, lane 1 the next eight, …, and the warp goes on by 256.
  // stub: // 4. The rest one at a time, side by side.
  // stub: // 5. Add up over the warp; one lane stores.
  // stub: (void)lane;
  int row = blockIdx.x * (THREADS / 32) + threadIdx.x / 32;
  if (row >= rows) return;
  const __nv_bfloat16* weights = weight + (size_t)row * columns;
  int wide = is_aligned(weights) && is_aligned(x) ? columns / 8 * 8 : 0;
  float sum = 0.0f;
  // Not unrolled: that takes more registers, and fewer warps fit on a multiprocessor.
#pragma unroll 1
  for (int i = 8 * lane; i < wide; i += 8 * 32) sum += dot8(weights + i, x + i);
  for (int i = wide + lane; i < columns; i += 32) sum += __bfloat162float(weights[i]) * x[i];
  sum = warp_sum(sum);
  if (lane == 0) out[row] = sum;
  // solve: end
}
