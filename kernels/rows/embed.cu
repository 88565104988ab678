// Prefill: the tokens' rows of the embedding are where the residual stream begins.
//
//   prompt   [2 + rows] int: see turn.cu                 embedding  [vocab, HIDDEN]
//   hidden   [rows, HIDDEN] float
//   grid     rows blocks                                      block      WARPS warps
#include <cuda_bf16.h>

#include "../decode/shapes.cuh"

extern "C" __global__ void __launch_bounds__(THREADS)
    rows_embed(const int* __restrict__ prompt, const __nv_bfloat16* __restrict__ embedding,
               float* __restrict__ hidden) {
  size_t row = blockIdx.x, token = prompt[2 + row];
  for (int i = threadIdx.x; i < HIDDEN; i += THREADS) {
    hidden[row * HIDDEN + i] = __bfloat162float(embedding[token * HIDDEN + i]);
  }
}
