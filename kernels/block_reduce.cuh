// Reductions over a block, for kernels of which they are not the subject: what day 6 builds.
#pragma once
#include <math_constants.h>

// What a reduction needs: how two numbers become one, and a neutral number, which changes no other.
struct Sum {
  static __device__ __forceinline__ float neutral() { return 0.0f; }
  static __device__ __forceinline__ float combine(float a, float b) { return a + b; }
};
struct Max {  // NaN where either is NaN
  static __device__ __forceinline__ float neutral() { return -CUDART_INF_F; }
  static __device__ __forceinline__ float combine(float a, float b) { return a > b || a != a ? a : b; }
};

// `value` of all threads of the block, reduced; every thread gets it, and all of them must call it.
//
//   partial   shared memory, one slot a warp. A second call with the same slots needs a barrier before it: slow threads may
//             still be reading them.
template <class Operation, class Value>
__device__ __forceinline__ Value block_reduce(Value value, Value* partial) {
  for (int distance = 16; distance > 0; distance /= 2) {
    value = Operation::combine(value, __shfl_xor_sync(0xffffffffu, value, distance));
  }
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = value;
  __syncthreads();
  Value total = Operation::neutral();
  for (int warp = 0; warp < blockDim.x / 32; warp++) total = Operation::combine(total, partial[warp]);
  return total;
}
