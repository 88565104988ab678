// A text goes on by one token: what the device keeps of it between two steps.
#pragma once
#include <cuda_bf16.h>

#include "chain.cuh"
#include "shapes.cuh"

constexpr int NO_TOKEN = -1;

// What is known of a token that becomes the next step's input.
enum Origin {
  LARGEST = 0,  // it has the largest logit
  CHOSEN = 1,   // a sampler has drawn it
  GIVEN = 2,    // it is part of the text: not counted, and it ends nothing
};

// THREADS threads call it for one text, with the same token; NO_TOKEN where there is none.
//
//   state      [0] position of the next step's token, [1] tokens chosen, [2] 1 once the text has ended, [3] tokens at most
//   stops      tokens that end the text, and before them how many these are
//   embedding  [vocab, HIDDEN] bfloat16
//   hidden     [HIDDEN] float: the token's row of the embedding, for the next step
//   tokens     [capacity + 1] int, in the host's memory: by their number in the text; NO_TOKEN where the logits have a NaN
//   capacity   positions that the cache has room for; the token behind the last is the last
__device__ __forceinline__ void advance(int token, Origin origin, int* state, const int* stops,
                                        const __nv_bfloat16* embedding, float* hidden, int* tokens, int capacity) {
  if (threadIdx.x == 0) {
    int position = fresh(state) + 1, number = fresh(state + 1);
    bool ends = token < 0 || position >= capacity;
    if (origin != GIVEN) {
      ends |= number + 1 >= fresh(state + 3);
      for (int i = 1, count = fresh(stops); i <= count; i++) ends |= token == fresh(stops + i);
      tokens[number] = token;
      state[1] = number + 1;
    }
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
