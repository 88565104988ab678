// Decode, last kernel of a layer: the second half of the MLP, added to the residual stream.
//
//   hidden[r] += scale[r] * sum over i of weight[r, i] * inner[i]
//
//   inner    [INNER] float                                     hidden  [HIDDEN] float, changed in place: one lane for each row
//   weight   [HIDDEN, INNER] bfloat16, or int8 + 128           scales  [HIDDEN] float, of int8 rows
//   grid     any number of blocks                              block   WARPS warps
//   shared   INNER floats, then each warp's ring
#include "chain.cuh"
#include "row_stream.cuh"
#include "shapes.cuh"

static_assert(HIDDEN % SPAN == 0, "whole units");

extern "C" __global__ void __launch_bounds__(THREADS)
    decode_down(const float* __restrict__ inner, const Weight::Element* __restrict__ weight,
                const float* __restrict__ scales, float* __restrict__ hidden) {
  using Stream = RowStream<INNER, SPAN, DEPTH>;
  extern __shared__ uint4 shared[];
  float4* x = reinterpret_cast<float4*>(shared);
  int warp = threadIdx.x / 32, first = blockIdx.x * WARPS + warp;

  Stream stream(weight, shared + INNER / 4 + warp * (Stream::BYTES / 16), HIDDEN / SPAN, first, gridDim.x * WARPS);
  stream.start();
  wait_for_previous();
  let_next_start();
#pragma unroll 4
  for (int i = threadIdx.x; i < INNER / 4; i += THREADS) {
    x[staged<INNER>(i)] = fresh(reinterpret_cast<const float4*>(inner) + i);
  }
  __syncthreads();
  each_row(stream, x, first, Old{hidden}, [&](int row, float product, float old) {
    if (row >= 0) hidden[row] = old + scaled(product, scales, row);
  });
}
