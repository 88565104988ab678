// Rows of the MLP's inside: SwiGLU of gate and up, as the next product's input.
//
//   parts[r, i] = silu(gate[r, i]) * up[r, i] / scale[r],  silu(g) = g / (1 + exp(-g))
//
// The scale is the power of two that brings a row's largest number to 1 at least and below 2: then nothing overflows 16 bits, and
// dividing by it rounds nothing.
//
//   gate_up  [PARTS, rows, INNER, 2] float, a product: each gate beside its up
//   parts    [PARTS, rows, INNER]                             scale   [rows] float
//   grid     rows blocks                                      block   WARPS warps
#include "../decode/shapes.cuh"
#include "block_reduce.cuh"  // day 6
#include "parts.cuh"

extern "C" __global__ void __launch_bounds__(THREADS)
    rows_swiglu_parts(const float* __restrict__ gate_up, Part16* __restrict__ parts, float* __restrict__ scale) {
  constexpr int EACH = (INNER + THREADS - 1) / THREADS;
  __shared__ float partial[WARPS];
  size_t first = (size_t)blockIdx.x * INNER, apart = (size_t)gridDim.x * INNER;
  float mine[EACH], largest = 0.0f;
#pragma unroll
  for (int n = 0; n < EACH; n++) {
    int i = n * THREADS + threadIdx.x;
    mine[n] = 0.0f;
    if (i >= INNER) continue;
    float2 pair = reinterpret_cast<const float2*>(gate_up)[first + i];
    for (int part = 1; part < PARTS; part++) {
      float2 more = reinterpret_cast<const float2*>(gate_up)[first + i + part * apart];
      pair = make_float2(pair.x + more.x, pair.y + more.y);
    }
    mine[n] = pair.x / (1.0f + expf(-pair.x)) * pair.y;
    largest = Max::combine(largest, fabsf(mine[n]));
  }
  largest = block_reduce<Max>(largest, partial);
  // Its exponent alone. A row of zeros, or one with an infinity or NaN in it, stays as it is.
  unsigned exponent = __float_as_uint(largest) & 0x7f800000u;
  float power = exponent == 0 || exponent == 0x7f800000u ? 1.0f : __uint_as_float(exponent);
#pragma unroll
  for (int n = 0; n < EACH; n++) {
    int i = n * THREADS + threadIdx.x;
    if (i < INNER) store_parts(mine[n] / power, parts + first + i, apart);
  }
  if (threadIdx.x == 0) scale[blockIdx.x] = power;
}
