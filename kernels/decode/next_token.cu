// Decode, the last kernel of a step: the token is chosen, and becomes the input of the next step. The host is not asked: it launches
// steps ahead, and reads tokens as they come.
//
//   best        [count] keys, of which the largest is the token (greedy), where `chosen` is not given
//   chosen      [1] int, the token that a sampler has drawn, -1 for none: read if `use_chosen`
//   stops       tokens that end the text, and before them how many these are
//   embedding   [vocab, HIDDEN] bfloat16
//   state       [0] position of the next step's token, [1] tokens chosen, [2] 1 once the text has ended, [3] tokens at most
//   hidden      [HIDDEN] float: the token's row of the embedding, for the next step
//   tokens      [capacity + 1] int, in the host's memory: token by step; NO_TOKEN where the logits have a NaN
//   capacity    positions that the cache has room for; the token behind the last is the last
//   grid        one block                                      block   THREADS threads
#include <cuda_bf16.h>

#include "chain.cuh"
#include "ordered.cuh"
#include "shapes.cuh"

constexpr int NO_TOKEN = -1;

extern "C" __global__ void __launch_bounds__(THREADS)
    decode_next_token(const Key* __restrict__ best, int count, const int* __restrict__ chosen, int use_chosen,
                      const int* __restrict__ stops, const __nv_bfloat16* __restrict__ embedding,
                      int* __restrict__ state, float* __restrict__ hidden, int* __restrict__ tokens, int capacity) {
  __shared__ Key of_warp[WARPS];
  let_next_start();
  wait_for_previous();
  if (fresh(state + 2)) return;  // the text has ended: this step was launched ahead, in vain

  Key key = NONE;
  for (int i = threadIdx.x; i < count; i += THREADS) key = max(key, __ldcg(best + i));
  for (int distance = 16; distance > 0; distance /= 2) key = max(key, __shfl_xor_sync(0xffffffffu, key, distance));
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = key;
  __syncthreads();
  for (int warp = 0; warp < WARPS; warp++) key = max(key, of_warp[warp]);
  int token = use_chosen ? fresh(chosen) : index_of(key);

  if (threadIdx.x == 0) {
    int position = fresh(state) + 1, step = fresh(state + 1);
    bool ends = token < 0 || position >= capacity || step + 1 >= fresh(state + 3);
    for (int i = 1, count = fresh(stops); i <= count; i++) ends |= token == fresh(stops + i);
    tokens[step] = token < 0 ? NO_TOKEN : token;
    state[1] = step + 1;
    if (ends) {
      state[2] = 1;  // the position stays: steps that were launched ahead find a row of the cache there
    } else {
      state[0] = position;
    }
  }
  if (token < 0) return;
  for (int i = threadIdx.x; i < HIDDEN; i += THREADS) {
    hidden[i] = __bfloat162float(embedding[(size_t)token * HIDDEN + i]);
  }
}
