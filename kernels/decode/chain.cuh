// How the kernels of one decode step follow each other, and how they read what the one before has written.
//
// A kernel waits for the whole of the one before, which costs a few microseconds: the last blocks end, the grid ends, the next one
// starts, its first loads take their time; and a step has five kernels a layer. With programmatic dependent launch (CUDA C++
// Programming Guide, "Programmatic Dependent Launch and Synchronization") a kernel may start early and do what does not depend on
// the one before: here, ask for its first weights. It then waits. Every thread must wait before it reads or writes anything but
// weights, and a kernel must wait even where it reads nothing of the one before: the one after relies on that.
//
// The long kernels (gate_up, down, head) let the next one start only when they have waited themselves: there is time enough for
// its first weights. So whatever starts after one of them finds everything written that was written before it. That is what
// attention relies on, when it asks for old keys before it waits.
#pragma once

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900 && !defined(__CUDA_EMU__)
#define CHAINED 1
#else
#define CHAINED 0  // kernels follow each other whole: in the emulator, and before Hopper
#endif

// The next kernel may start as soon as every block has called this, and there is room for it.
__device__ __forceinline__ void let_next_start() {
#if CHAINED
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// Until the kernel before has ended and all that it wrote is visible.
__device__ __forceinline__ void wait_for_previous() {
#if CHAINED
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// Loads of what another kernel has written go to the L2 cache: a multiprocessor's own may have an older copy, from the kernel that
// ran beside.
__device__ __forceinline__ float fresh(const float* address) { return __ldcg(address); }
__device__ __forceinline__ float2 fresh(const float2* address) { return __ldcg(address); }
__device__ __forceinline__ float4 fresh(const float4* address) { return __ldcg(address); }
__device__ __forceinline__ int fresh(const int* address) { return __ldcg(address); }
