// Decode, third kernel of a layer: what attention has found, through the output matrix, added to the residual stream.
//
// Attention leaves each head in SPLITS parts, of as many slices of the text. Each block puts them together for itself, on the way
// into shared memory (merged.cuh).
//
//   hidden[r] += scale[r] * sum over i of weight[r, i] * x[i]
//
//   values   [HEADS, SPLITS, HEAD_DIM] float                   sums    [HEADS, SPLITS] float2: m, s
//   weight   [HIDDEN, HEADS * HEAD_DIM] bfloat16, int8 + 128   scales  [HIDDEN] float, of int8 rows
//   hidden   [HIDDEN] float, changed in place
//   grid     any number of blocks                              block   WARPS warps
//   shared   HEADS * HEAD_DIM floats, then each warp's ring
#include "merged.cuh"
#include "row_stream.cuh"

constexpr int WIDTH = HEADS * HEAD_DIM;
static_assert(HIDDEN % SPAN == 0, "whole units");

extern "C" __global__ void __launch_bounds__(THREADS)
    decode_output(const float* __restrict__ values, const float2* __restrict__ sums,
                  const Weight::Element* __restrict__ weight, const float* __restrict__ scales,
                  float* __restrict__ hidden) {
  using Stream = RowStream<WIDTH, SPAN, DEPTH>;
  extern __shared__ uint4 shared[];
  float4* x = reinterpret_cast<float4*>(shared);
  int warp = threadIdx.x / 32, first = blockIdx.x * WARPS + warp;

  let_next_start();
  Stream stream(weight, shared + WIDTH / 4 + warp * (Stream::BYTES / 16), HIDDEN / SPAN, first, gridDim.x * WARPS);
  stream.start();
  wait_for_previous();
  for (int i = threadIdx.x; i < WIDTH / 4; i += THREADS) {
    x[staged<WIDTH>(i)] = merged(values, sums, i / (HEAD_DIM / 4), i % (HEAD_DIM / 4));
  }
  __syncthreads();
  each_row(stream, x, first, Old{hidden}, [&](int row, float product, float old) {
    if (row >= 0) hidden[row] = old + scaled(product, scales, row);
  });
}
