// What attention has found for each text, from its slices, as the next product's input.
//
//   values   [texts, HEADS, SPLITS, HEAD_DIM] float           sums   [texts, HEADS, SPLITS] float2; see decode/merged.cuh
//   parts    [PARTS, texts, HEADS * HEAD_DIM]
//   grid     a block for each text                            block  WARPS warps
#include "../decode/merged.cuh"
#include "parts.cuh"

extern "C" __global__ void __launch_bounds__(THREADS)
    rows_merge_parts(const float* __restrict__ values, const float2* __restrict__ sums, Part16* __restrict__ parts) {
  constexpr int WIDTH = HEADS * HEAD_DIM;
  size_t text = blockIdx.x, apart = (size_t)gridDim.x * WIDTH;
  values += text * HEADS * SPLITS * HEAD_DIM;
  sums += text * HEADS * SPLITS;
  for (int i = threadIdx.x; i < WIDTH / 4; i += THREADS) {
    float4 four = merged(values, sums, i / (HEAD_DIM / 4), i % (HEAD_DIM / 4));
    Part16* to = parts + text * WIDTH + 4 * i;
    store_parts(four.x, to, apart);
    store_parts(four.y, to + 1, apart);
    store_parts(four.z, to + 2, apart);
    store_parts(four.w, to + 3, apart);
  }
}
