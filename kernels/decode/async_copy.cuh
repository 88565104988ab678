// Copies of 16 bytes from global to shared memory that go on while the thread does something else. What is on its way takes no
// registers, so there is more room for it, and it stays on its way across a wait or a barrier. `cp.async` of the PTX manual; only
// the thread that asked for a copy can wait for it, and other threads need a barrier on top.
#pragma once

#ifdef __CUDA_EMU__

// The emulator's copies are there at once.
__device__ __forceinline__ void copy16(uint4* shared, const uint4* global) { *shared = *global; }
__device__ __forceinline__ void end_group() {}
template <int LATER>
__device__ __forceinline__ void wait_for_group() {}

#else

// Past the multiprocessor's own cache: each byte is used once.
__device__ __forceinline__ void copy16(uint4* shared, const uint4* global) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"((unsigned)__cvta_generic_to_shared(shared)),
               "l"(global)
               : "memory");
}

// The copies since the last call are a group; it may be empty.
__device__ __forceinline__ void end_group() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Until all groups but the last `LATER` have arrived.
template <int LATER>
__device__ __forceinline__ void wait_for_group() {
  asm volatile("cp.async.wait_group %0;" ::"n"(LATER) : "memory");
}

#endif
