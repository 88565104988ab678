// Embedding: out[t] = table[ids[t]], a row of the table for each token.
//
// One block for each token. No arithmetic: the bits of the row are copied.
//
//   ids     [tokens]                                int, each in [0, vocabulary): the host has checked them
//   table   [vocabulary, hidden], row after row     ELEMENT: float or __nv_bfloat16
//   out     [tokens, hidden], row after row
//   grid    tokens blocks                           block: THREADS threads
#include <cuda_bf16.h>

#ifndef ELEMENT
#define ELEMENT float
#endif
#ifndef THREADS
#define THREADS 256
#endif

extern "C" __global__ void embedding(const int* __restrict__ ids, const ELEMENT* __restrict__ table,
                                     ELEMENT* __restrict__ out, int hidden) {
  // 1. Find this token's row of the table, by its id, and its row of out, by its position. Compute both offsets in size_t.
  // 2. Each thread copies its share of the columns: threadIdx.x, threadIdx.x + THREADS, …
}
