// Decode, fourth kernel of a layer: the first half of the MLP, gate and up side by side, and SwiGLU of the two.
//
//   inner[i] = silu(g) * u, g = weight[i, 0] · normed(hidden), u = weight[i, 1] · normed(hidden), silu(g) = g / (1 + exp(-g))
//
// Layout. Row i of the gate matrix lies before row i of the up matrix: [INNER, 2, HIDDEN]. So both products of a number are in one
// warp, and nothing between them goes through global memory.
//
//   hidden   [HIDDEN] float, the residual stream               gain    [HIDDEN] float, of the norm
//   weight   [INNER, 2, HIDDEN] bfloat16, or int8 + 128        scales  [INNER, 2] float, of int8 rows
//   inner    [INNER] float
//   grid     any number of blocks                              block   WARPS warps
//   shared   HIDDEN floats, then each warp's ring
#include "normed.cuh"
#include "shapes.cuh"

static_assert(SPAN >= 2, "gate and up belong together");
static_assert(2 * INNER % SPAN == 0, "whole units");

extern "C" __global__ void __launch_bounds__(THREADS)
    decode_gate_up(const float* __restrict__ hidden, const float* __restrict__ gain,
                   const Weight::Element* __restrict__ weight, const float* __restrict__ scales,
                   float* __restrict__ inner, float epsilon) {
  using Stream = RowStream<HIDDEN, SPAN, DEPTH>;
  extern __shared__ uint4 shared[];
  __shared__ float partial[WARPS];
  float4* x = reinterpret_cast<float4*>(shared);
  int warp = threadIdx.x / 32, first = blockIdx.x * WARPS + warp;

  Stream stream(weight, shared + HIDDEN / 4 + warp * (Stream::BYTES / 16), 2 * INNER / SPAN, first, gridDim.x * WARPS);
  stream.start();
  stage_normed<HIDDEN, THREADS>(hidden, gain, epsilon, x, partial);
  let_next_start();
  each_row(stream, x, first, Nothing{}, [&](int row, float product, float) {
    float mine = row >= 0 ? scaled(product, scales, row) : 0.0f;
    float up = __shfl_down_sync(0xffffffffu, mine, 8);  // the next row's lanes
    if (row >= 0 && row % 2 == 0) inner[row / 2] = mine / (1.0f + expf(-mine)) * up;
  });
}
