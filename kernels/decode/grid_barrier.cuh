// All blocks of a grid that run at the same time, in step.
//
// Three ways to wait for what other blocks compute, from the cheapest on:
//
//   nothing       numbers carry marks that say when they were written (marked.cuh); who needs them looks until they are there
//   Turnstile     counts the blocks that have passed. Looking for many numbers again and again keeps memory from what is more useful, so
//                 one thread looks for the count first. It promises nothing: a promise waits until all of a multiprocessor's memory
//                 traffic is done, weights on their way included, which takes microseconds. The marks still decide.
//   GridBarrier   until all blocks have come, and all that they wrote is visible: twice a step
//
// Only the block's workers take part, threads 0 to THREADS - 1: a warp that asks for weights goes on. The emulator has grid.sync(), and
// takes it for each of the three: all blocks must come to all of them.
#pragma once
#include <cooperative_groups.h>

#include "shapes.cuh"

using Count = unsigned long long;

// What the blocks of all launches share; zeros before the first.
struct Counts {
  Count barrier, inner;
  Count layers;  // gone through so far
};

// A barrier for the workers of a block.
__device__ __forceinline__ void sync_workers() {
#ifdef __CUDA_EMU__
  __syncthreads();  // they are the whole block
#else
  asm volatile("bar.sync 1, %0;" ::"n"(THREADS) : "memory");
#endif
}

#ifdef __CUDA_EMU__

__device__ __forceinline__ void marks_decide() { cooperative_groups::this_grid().sync(); }

struct Turnstile {
  __device__ __forceinline__ explicit Turnstile(Count*) {}
  __device__ __forceinline__ void pass() {}
  __device__ __forceinline__ void wait(int) { cooperative_groups::this_grid().sync(); }
};

struct GridBarrier {
  __device__ __forceinline__ explicit GridBarrier(Count*) {}
  __device__ __forceinline__ void sync() { cooperative_groups::this_grid().sync(); }
};

#else

__device__ __forceinline__ void marks_decide() {}

// Its count is 0 before each launch.
struct Turnstile {
  Count *passed, wanted = 0;

  __device__ __forceinline__ explicit Turnstile(Count* passed) : passed(passed) {}

  // By all workers of a block.
  __device__ __forceinline__ void pass() {
    sync_workers();
    if (threadIdx.x == 0) asm volatile("red.relaxed.gpu.global.add.u64 [%0], 1;" ::"l"(passed) : "memory");
  }

  // Until so many more blocks have passed.
  __device__ __forceinline__ void wait(int blocks) {
    wanted += blocks;
    Count seen = 0;
    while (threadIdx.x == 0 && seen < wanted) {
      asm volatile("ld.relaxed.gpu.global.u64 %0, [%1];" : "=l"(seen) : "l"(passed) : "memory");
    }
    sync_workers();
  }
};

// Its count only grows: each launch leaves it a multiple of the number of blocks.
struct GridBarrier {
  Count *arrived, wanted;

  // Some blocks may have arrived since the launch, but not all: not this one.
  __device__ __forceinline__ explicit GridBarrier(Count* arrived) : arrived(arrived) {
    Count seen;
    asm volatile("ld.relaxed.gpu.global.u64 %0, [%1];" : "=l"(seen) : "l"(arrived) : "memory");
    wanted = seen / gridDim.x * gridDim.x;
  }

  __device__ __forceinline__ void sync() {
    sync_workers();
    wanted += gridDim.x;
    if (threadIdx.x == 0) {
      Count seen = 0;
      asm volatile("red.release.gpu.global.add.u64 [%0], 1;" ::"l"(arrived) : "memory");
      while (seen < wanted) {
        asm volatile("ld.acquire.gpu.global.u64 %0, [%1];" : "=l"(seen) : "l"(arrived) : "memory");
      }
    }
    sync_workers();
  }
};

#endif
