// All blocks of a grid that run at the same time, in step: every block counts itself in a number in global memory, and waits until
// all have. The number only grows, over all launches: each of them leaves it a multiple of the number of blocks.
//
// `arrive` and `wait` promise nothing about what was written before: a promise has to wait until all of a multiprocessor's memory
// traffic is done, weights on their way included, which takes microseconds (kernels/NOTES.md has what was measured). They only say
// when it is worth looking; the numbers themselves say when they were written (marked.cuh). `sync` promises, once a step.
//
// Only the block's workers take part, threads 0 to THREADS - 1: a warp that asks for weights goes on. The emulator has grid.sync().
#pragma once
#include <cooperative_groups.h>

#include "shapes.cuh"

// A barrier for the workers of a block.
__device__ __forceinline__ void sync_workers() {
#ifdef __CUDA_EMU__
  __syncthreads();  // they are the whole block
#else
  asm volatile("bar.sync 1, %0;" ::"n"(THREADS) : "memory");
#endif
}

struct GridBarrier {
#ifdef __CUDA_EMU__
  __device__ __forceinline__ explicit GridBarrier(unsigned long long*) {}
  __device__ __forceinline__ unsigned parity() const { return 0; }
  __device__ __forceinline__ void arrive() {}
  __device__ __forceinline__ void wait() { cooperative_groups::this_grid().sync(); }
  __device__ __forceinline__ void sync() { cooperative_groups::this_grid().sync(); }
#else
  unsigned long long *arrived, target;

  // Before this launch the number was a multiple of the blocks; some blocks may have arrived since, but not all: not this one.
  __device__ __forceinline__ explicit GridBarrier(unsigned long long* arrived) : arrived(arrived) {
    unsigned long long seen;
    asm volatile("ld.relaxed.gpu.global.u64 %0, [%1];" : "=l"(seen) : "l"(arrived) : "memory");
    target = seen / gridDim.x * gridDim.x;
  }

  // Of the number of barriers so far, over all launches.
  __device__ __forceinline__ unsigned parity() const { return target / gridDim.x & 1; }

  __device__ __forceinline__ void arrive() {
    sync_workers();
    target += gridDim.x;
    if (threadIdx.x == 0) asm volatile("red.relaxed.gpu.global.add.u64 [%0], 1;" ::"l"(arrived) : "memory");
  }

  // Until all blocks have arrived.
  __device__ __forceinline__ void wait() {
    unsigned long long seen = 0;
    while (threadIdx.x == 0 && seen < target) {
      asm volatile("ld.relaxed.gpu.global.u64 %0, [%1];" : "=l"(seen) : "l"(arrived) : "memory");
    }
    sync_workers();
  }

  // Until all blocks have arrived, and all that they wrote before is visible.
  __device__ __forceinline__ void sync() {
    sync_workers();
    target += gridDim.x;
    if (threadIdx.x == 0) {
      unsigned long long seen = 0;
      asm volatile("red.release.gpu.global.add.u64 [%0], 1;" ::"l"(arrived) : "memory");
      while (seen < target) {
        asm volatile("ld.acquire.gpu.global.u64 %0, [%1];" : "=l"(seen) : "l"(arrived) : "memory");
      }
    }
    sync_workers();
  }
#endif
};
