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
  // solve: begin
  // stub: // 1. Each warp adds up its 32 values with shuffles.
  // stub: // 2. One lane of each warp leaves the warp's sum in `partial`.
  // stub: // 3. Every thread adds up all the warps' sums.
  // stub: (void)partial, (void)lane, (void)warp;
  // stub: return value;
  for (int distance = 16; distance > 0; distance /= 2) {
    value += __shfl_xor_sync(0xffffffffu, value, distance);
  }
  if (lane == 0) partial[warp] = value;
  __syncthreads();
  float total = 0.0f;
  for (int w = 0; w < warps; w++) total += partial[w];
  return total;
  // solve: end
}

extern "C" __global__ void rmsnorm(const ELEMENT* __restrict__ x, const ELEMENT* __restrict__ weight,
                                   ELEMENT* __restrict__ out, int hidden, float eps) {
  // solve: begin
  // stub: // 1. Find this block's row of x and of out. Rows times hidden can pass 2^31: compute the offset in size_t.
  // stub: // 2. Each thread adds up the squares of its share of the row: columns threadIdx.x, threadIdx.x + THREADS, …
  // stub: // 3. block_sum makes the row's sum of them; from it comes the factor that scales the row.
  // stub: // 4. Each thread scales its share of the row, times the weight, and stores it.
  const ELEMENT* row = x + (size_t)blockIdx.x * hidden;
  ELEMENT* out_row = out + (size_t)blockIdx.x * hidden;
  float squares = 0.0f;
  for (int i = threadIdx.x; i < hidden; i += THREADS) {
    float value = to_float(row[i]);
    squares += value * value;
  }
  float scale = rsqrtf(block_sum(squares) / hidden + eps);
  for (int i = threadIdx.x; i < hidden; i += THREADS) {
    store(&out_row[i], to_float(row[i]) * scale * to_float(weight[i]));
  }
  // solve: end
}
