// The largest key of a block: what chooses a token (day 18).
#pragma once
#include "ordered.cuh"
#include "shapes.cuh"

// THREADS threads call it, and each gets the result. A barrier must come before the next call with the same slots.
//
//   of_warps   shared memory, one slot a warp              sync()   a barrier for the threads that call it
template <class Sync>
__device__ __forceinline__ Key largest_of_block(Key key, Key* of_warps, Sync sync) {
  for (int distance = 16; distance > 0; distance /= 2) key = max(key, __shfl_xor_sync(0xffffffffu, key, distance));
  if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = key;
  sync();
  for (int warp = 0; warp < WARPS; warp++) key = max(key, of_warps[warp]);
  return key;
}

__device__ __forceinline__ Key largest_of_block(Key key, Key* of_warps) {
  return largest_of_block(key, of_warps, [] { __syncthreads(); });
}
