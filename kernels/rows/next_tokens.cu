// The next token of each text of a batch, from its row of logits, and the input of the next step: see decode/advance.cuh.
//
// Several blocks look for the largest logit of a text, each in a slice; the last of them takes the best of the slices' and goes on.
//
//   logits   [PARTS, texts, vocab] float, a product
//   best     [texts, slices] keys                     tickets  [texts] int, 0
//   given    [texts] int: tokens for GIVEN
//   state    [texts, 4]      hidden   [texts, HIDDEN]      tokens   [texts, capacity + 1], in the host's memory
//   stops    for all texts
//   grid     slices × texts blocks (x, y)                     block  WARPS warps
#include "../decode/advance.cuh"
#include "../decode/largest.cuh"
#include "last_block.cuh"
#include "parts.cuh"

extern "C" __global__ void __launch_bounds__(THREADS)
    rows_next_tokens(const float* __restrict__ logits, Key* __restrict__ best, int* __restrict__ tickets, int vocab,
                     const int* __restrict__ given, int origin, const int* __restrict__ stops,
                     const __nv_bfloat16* __restrict__ embedding, int* __restrict__ state, float* __restrict__ hidden,
                     int* __restrict__ tokens, int capacity) {
  __shared__ Key of_slice[WARPS], of_text[WARPS];
  int slices = gridDim.x;
  size_t text = blockIdx.y, apart = (size_t)gridDim.y * vocab;
  wait_for_previous();
  state += 4 * text;
  if (fresh(state + 2)) return;  // the text has ended; others of the batch go on
  if (origin == LARGEST) {
    Key key = NONE;
    const float* row = logits + text * vocab;
#pragma unroll 4
    for (int i = blockIdx.x * THREADS + threadIdx.x; i < vocab; i += slices * THREADS) {
      key = max(key, key_of(sum_parts(row + i, apart, nullptr), i));
    }
    key = largest_of_block(key, of_slice);
    if (threadIdx.x == 0) best[text * slices + blockIdx.x] = key;
  }
  // All blocks have read the state by then.
  if (!is_last_block(tickets + text, slices)) return;
  int token = max(fresh(given + text), NO_TOKEN);
  if (origin == LARGEST) {
    Key key = NONE;
    for (int i = threadIdx.x; i < slices; i += THREADS) key = max(key, __ldcg(best + text * slices + i));
    token = index_of(largest_of_block(key, of_text));
  }
  advance(token, (Origin)origin, state, stops, embedding, hidden + text * HIDDEN, tokens + text * (capacity + 1),
          capacity);
}
