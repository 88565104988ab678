// The next token of each text of a batch, from its row of logits, and the input of the next step: see decode/advance.cuh.
//
//   logits   [PARTS, texts, vocab] float, a product
//   given    [texts] int: tokens for GIVEN
//   state    [texts, 4]      hidden   [texts, HIDDEN]      tokens   [texts, capacity + 1], in the host's memory
//   stops    for all texts
//   grid     a block for each text                            block  WARPS warps
#include "../decode/advance.cuh"
#include "ordered.cuh"
#include "parts.cuh"

extern "C" __global__ void __launch_bounds__(THREADS)
    rows_next_tokens(const float* __restrict__ logits, int vocab, const int* __restrict__ given, int origin,
                     const int* __restrict__ stops, const __nv_bfloat16* __restrict__ embedding,
                     int* __restrict__ state, float* __restrict__ hidden, int* __restrict__ tokens, int capacity) {
  __shared__ Key of_warp[WARPS];
  size_t text = blockIdx.x, apart = (size_t)gridDim.x * vocab;
  state += 4 * text;
  if (state[2]) return;  // the text has ended; others of the batch go on
  int token = max(given[text], NO_TOKEN);
  if (origin == LARGEST) {
    Key key = NONE;
    const float* row = logits + text * vocab;
    for (int i = threadIdx.x; i < vocab; i += THREADS) key = max(key, key_of(sum_parts(row + i, apart, nullptr), i));
    for (int distance = 16; distance > 0; distance /= 2) key = max(key, __shfl_xor_sync(0xffffffffu, key, distance));
    if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = key;
    __syncthreads();
    for (int warp = 0; warp < WARPS; warp++) key = max(key, of_warp[warp]);
    token = index_of(key);
  } else {
    __syncthreads();  // all threads have read the state
  }
  advance(token, (Origin)origin, state, stops, embedding, hidden + text * HIDDEN, tokens + text * (capacity + 1),
          capacity);
}
