// Decode, after the last layer: every token's logit, and the best of them.
//
//   logits[t] = scale[t] * sum over i of weight[t, i] * normed(hidden)[i]
//   best[b]   = the largest logit among the rows of block b, with its token (see ordered.cuh)
//
//   hidden   [HIDDEN] float, the residual stream               gain    [HIDDEN] float, of the last norm
//   weight   [vocab, HIDDEN] bfloat16, or int8 + 128           scales  [vocab] float, of int8 rows; vocab: whole units
//   logits   [vocab] float                                     best    [blocks] keys
//   grid     any number of blocks                              block   WARPS warps
//   shared   HIDDEN floats, then each warp's ring
#include "largest.cuh"
#include "normed.cuh"
#include "shapes.cuh"

extern "C" __global__ void __launch_bounds__(THREADS)
    decode_head(const float* __restrict__ hidden, const float* __restrict__ gain,
                const Weight::Element* __restrict__ weight, const float* __restrict__ scales,
                float* __restrict__ logits, Key* __restrict__ best, float epsilon, int vocab) {
  using Stream = RowStream<HIDDEN, SPAN, DEPTH>;
  extern __shared__ uint4 shared[];
  __shared__ float partial[WARPS];
  __shared__ Key keys[WARPS];
  float4* x = reinterpret_cast<float4*>(shared);
  int warp = threadIdx.x / 32, first = blockIdx.x * WARPS + warp;

  Stream stream(weight, shared + HIDDEN / 4 + warp * (Stream::BYTES / 16), vocab / SPAN, first, gridDim.x * WARPS);
  stream.start();
  stage_normed<HIDDEN, THREADS>(hidden, gain, epsilon, x, partial);
  let_next_start();
  Key mine = NONE;
  each_row(stream, x, first, Nothing{}, [&](int row, float product, float) {
    if (row < 0) return;
    float logit = scaled(product, scales, row);
    logits[row] = logit;
    mine = max(mine, key_of(logit, row));
  });
  mine = largest_of_block(mine, keys);
  if (threadIdx.x == 0) best[blockIdx.x] = mine;
}
