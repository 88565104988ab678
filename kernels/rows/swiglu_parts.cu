// Rows of the MLP's inside: SwiGLU of gate and up, as the next product's input.
//
//   parts[r, i] = silu(gate[r, i]) * up[r, i] / scale[r],  silu(g) = g / (1 + exp(-g))
//
// The scale is the power of two that brings a row's largest number to 1 at least and below 2: then nothing overflows float16, and
// dividing by it rounds nothing. Bfloat16 reaches as far as float and needs none, without NEEDS_SCALE: then SLICES blocks share a row.
//
//   gate_up  [PARTS, rows, INNER, 2] float, a product: each gate beside its up
//   scales   [INNER, 2] float, of its weights; not read without SCALED
//   parts    [PARTS, rows, INNER]                             scale   [rows] float; not written without NEEDS_SCALE
//   grid     rows × SLICES blocks (x, y)                      block   WARPS warps
#include "../decode/shapes.cuh"
#include "block_reduce.cuh"  // day 6
#include "parts.cuh"

#ifndef NEEDS_SCALE
#define NEEDS_SCALE 1
#endif
#ifndef SLICES
#define SLICES 1
#endif
static_assert(INNER % 8 == 0, "whole vectors of 16 bytes");
static_assert(SLICES == 1 || !NEEDS_SCALE, "one block sees all of a row");

extern "C" __global__ void __launch_bounds__(THREADS)
    rows_swiglu_parts(const float* __restrict__ gate_up, const float* __restrict__ scales, Part16* __restrict__ parts,
                      float* __restrict__ scale) {
  constexpr int OF_ROW = SLICES * THREADS, EACH = (INNER / 8 + OF_ROW - 1) / OF_ROW;
  __shared__ float partial[WARPS];
  size_t first = (size_t)blockIdx.x * INNER, apart = (size_t)gridDim.x * INNER;
  int thread = blockIdx.y * THREADS + threadIdx.x;  // of those that share the row
  float mine[EACH][8], largest = 0.0f;
  wait_for_previous();
#pragma unroll
  for (int n = 0; n < EACH; n++) {
    int at = 8 * (n * OF_ROW + thread);
    if (at >= INNER) break;
#pragma unroll
    for (int four = 0; four < 8; four += 4) {
      float pairs[8];
      sum_parts8(pairs, gate_up + 2 * (first + at + four), 2 * apart, scales + 2 * (at + four));
#pragma unroll
      for (int i = 0; i < 4; i++) {
        float gate = pairs[2 * i], up = pairs[2 * i + 1], inside = gate / (1.0f + expf(-gate)) * up;
        mine[n][four + i] = inside;
        largest = Max::combine(largest, fabsf(inside));
      }
    }
  }
  float inverse = 1.0f;
  if (NEEDS_SCALE) {
    largest = block_reduce<Max>(largest, partial);
    // Its exponent alone. A row of zeros, or one with an infinity or NaN in it, stays as it is.
    unsigned exponent = __float_as_uint(largest) & 0x7f800000u;
    float power = exponent == 0 || exponent == 0x7f800000u ? 1.0f : __uint_as_float(exponent);
    inverse = 1.0f / power;
    if (threadIdx.x == 0) scale[blockIdx.x] = power;
  }
#pragma unroll
  for (int n = 0; n < EACH; n++) {
    int at = 8 * (n * OF_ROW + thread);
    if (at >= INNER) break;
#pragma unroll
    for (int i = 0; i < 8; i++) mine[n][i] *= inverse;
    store_parts8(mine[n], parts + first + at, apart);
  }
}
