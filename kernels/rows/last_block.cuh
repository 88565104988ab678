// Several blocks work on one thing, each writes what it finds, and the last of them to end puts that together: no other kernel has to
// be started for it (CUDA C++ Programming Guide, "Memory Fence Functions", sums an array so).
#pragma once

// Whether this block is the last of `count`. All threads call it, and those of the last block can then read what the others wrote
// before, past their multiprocessor's own cache.
//
//   ticket   shared by the blocks; 0 before, and again after the last
__device__ __forceinline__ bool is_last_block(int* ticket, int count) {
  __shared__ bool last;
  __syncthreads();
  if (count == 1) return true;
  if (threadIdx.x == 0) {
    __threadfence();  // what the block has written comes before its ticket
    last = atomicAdd(ticket, 1) == count - 1;
    if (last) *ticket = 0;
    __threadfence();
  }
  __syncthreads();
  return last;
}
