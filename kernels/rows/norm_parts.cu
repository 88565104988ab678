// Rows of the residual stream: what a matrix product has computed is added, and the sum is normalised for the next product.
//
//   hidden[r] += scale[r] * (sum of added[part, r])          parts[r] = hidden[r] / sqrt(mean of hidden[r]^2 + epsilon) * gain
//
//   hidden   [rows, HIDDEN] float, changed in place
//   added    [PARTS, rows, HIDDEN] float, a product; not read where `adds` is 0
//   scale    [rows] float, by which the product's input was divided
//   gain     [HIDDEN] float
//   parts    [PARTS, rows, HIDDEN]
//   grid     rows blocks                                      block   WARPS warps
#include "../decode/shapes.cuh"
#include "block_reduce.cuh"  // day 6
#include "parts.cuh"

extern "C" __global__ void __launch_bounds__(THREADS)
    rows_norm_parts(float* __restrict__ hidden, const float* __restrict__ added, const float* __restrict__ scale,
                    const float* __restrict__ gain, Part16* __restrict__ parts, float epsilon, int adds) {
  constexpr int EACH = (HIDDEN + THREADS - 1) / THREADS;
  __shared__ float partial[WARPS];
  size_t first = (size_t)blockIdx.x * HIDDEN, apart = (size_t)gridDim.x * HIDDEN;
  float factor = adds ? scale[blockIdx.x] : 0.0f;
  float mine[EACH], squares = 0.0f;
#pragma unroll
  for (int n = 0; n < EACH; n++) {
    int i = n * THREADS + threadIdx.x;
    mine[n] = i < HIDDEN ? hidden[first + i] : 0.0f;
    if (adds && i < HIDDEN) {
      mine[n] += factor * sum_parts(added + first + i, apart);
      hidden[first + i] = mine[n];
    }
    squares += mine[n] * mine[n];
  }
  float norm = rsqrtf(block_reduce<Sum>(squares, partial) / HIDDEN + epsilon);
#pragma unroll
  for (int n = 0; n < EACH; n++) {
    int i = n * THREADS + threadIdx.x;
    if (i < HIDDEN) store_parts(mine[n] * norm * gain[i], parts + first + i, apart);
  }
}
