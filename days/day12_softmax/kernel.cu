// Softmax: out[r, i] = exp(x[r, i]) / (exp(x[r, 0]) + … + exp(x[r, n - 1]))
//
// One block for each row. Each row is read three times: for its maximum, for the sum, to write the result. Only the first
// time it comes from device memory, later from a cache.
//
//   x, out   [rows, n], row after row     n is at least 1; -inf is a masked element
//   grid     rows blocks                  block: THREADS threads, whole warps, at most 1024
//
// A row of -inf alone gives zeros. A row with NaN or +inf gives NaN everywhere.
#include <math_constants.h>

#include "block_reduce.cuh"  // day 6: block_reduce<Max>(value, partial), block_reduce<Sum>(value, partial)

#ifndef THREADS
#define THREADS 256
#endif
static_assert(THREADS % 32 == 0 && THREADS <= 1024, "a block is whole warps, at most 1024 threads");

extern "C" __global__ void softmax(const float* __restrict__ x, float* __restrict__ out, int n) {
  __shared__ float partial[THREADS / 32];  // for block_reduce: one slot a warp
  // 1. Find this block's row of x and of out. Rows times n can pass 2^31: compute the offset in size_t.
  // 2. The row's maximum: each thread's share, then the block's. Decide what to subtract where all of it is -inf.
  // 3. The sum of the exponentials, in the same way. `partial` is used again: who may still be reading it?
  // 4. Each thread writes its share of the row. Where the sum is 0, that is zeros.
  (void)partial;
}
