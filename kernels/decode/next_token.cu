// Decode, the last kernel of a step: the token is chosen, and becomes the input of the next step. The host is not asked: it launches
// steps ahead, and reads tokens as they come.
//
//   best        [count] keys, of which the largest is the token, for LARGEST
//   chosen      [1] int, the token, for CHOSEN and GIVEN; less than 0 for none
//   origin      see advance.cuh, as the other arguments
//   grid        one block                                      block   WARPS warps
#include "advance.cuh"
#include "largest.cuh"

extern "C" __global__ void __launch_bounds__(THREADS)
    decode_next_token(const Key* __restrict__ best, int count, const int* __restrict__ chosen, int origin,
                      const int* __restrict__ stops, const __nv_bfloat16* __restrict__ embedding,
                      int* __restrict__ state, float* __restrict__ hidden, int* __restrict__ tokens, int capacity) {
  __shared__ Key of_warp[WARPS];
  let_next_start();
  wait_for_previous();
  if (fresh(state + 2)) return;  // the text has ended: this step was launched ahead, in vain

  Key key = NONE;
  for (int i = threadIdx.x; i < count; i += THREADS) key = max(key, __ldcg(best + i));
  key = largest_of_block(key, of_warp);
  int token = origin == LARGEST ? index_of(key) : max(fresh(chosen), NO_TOKEN);
  advance(token, (Origin)origin, state, stops, embedding, hidden, tokens, capacity);
}
