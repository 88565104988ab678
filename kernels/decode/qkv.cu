// Decode, first kernel of a layer: queries, keys and values of the one new token, from the normalised residual stream.
//
//   qkv[r] = scale[r] * sum over i of weight[r, i] * normed(hidden)[i]
//
// Layout. The three matrices are one, rows of q, then k, then v: [QKV, HIDDEN], so that all multiprocessors have work. A block's
// warps take units of SPAN rows; see row_stream.cuh for how weights come, normed.cuh for the activations.
//
//   hidden   [HIDDEN] float, the residual stream               gain    [HIDDEN] float, of the norm
//   weight   [QKV, HIDDEN] bfloat16, or int8 + 128             scales  [QKV] float, of int8 rows; not read for bfloat16
//   qkv      [QKV] float
//   grid     any number of blocks                              block   WARPS warps
//   shared   HIDDEN floats, then each warp's ring
#include "normed.cuh"
#include "shapes.cuh"

constexpr int QKV = (HEADS + 2 * KV_HEADS) * HEAD_DIM;
static_assert(QKV % SPAN == 0, "whole units");

extern "C" __global__ void __launch_bounds__(THREADS)
    decode_qkv(const float* __restrict__ hidden, const float* __restrict__ gain,
               const Weight::Element* __restrict__ weight, const float* __restrict__ scales, float* __restrict__ qkv,
               float epsilon) {
  using Stream = RowStream<HIDDEN, SPAN, DEPTH>;
  extern __shared__ uint4 shared[];
  __shared__ float partial[WARPS];
  float4* x = reinterpret_cast<float4*>(shared);
  int warp = threadIdx.x / 32, first = blockIdx.x * WARPS + warp;

  let_next_start();
  Stream stream(weight, shared + HIDDEN / 4 + warp * (Stream::BYTES / 16), QKV / SPAN, first, gridDim.x * WARPS);
  stream.start();
  stage_normed<HIDDEN, THREADS>(hidden, gain, epsilon, x, partial);
  each_row(stream, x, first, Nothing{}, [&](int row, float product, float) {
    if (row >= 0) qkv[row] = scaled(product, scales, row);
  });
}
