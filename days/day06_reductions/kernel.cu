// Reductions: each row of x becomes one number, its sum or its largest element.
//
// One block for each row. First each thread reduces its share of the row to one number; then the block reduces its threads'
// numbers to one, in two versions: by a tree in shared memory, and by shuffles within each warp.
//
//   x      [rows, n], row after row      n is at least 1
//   out    [rows]
//   grid   rows blocks                   block: THREADS threads, a power of two from 32 to 1024
#include <math_constants.h>

#ifndef THREADS
#define THREADS 256
#endif
static_assert(THREADS >= 32 && THREADS <= 1024 && (THREADS & (THREADS - 1)) == 0, "a power of two from 32 to 1024");

// What a reduction needs: how two numbers become one, and a neutral number, which changes no other.
struct Sum {
  static __device__ float neutral() { return 0.0f; }
  static __device__ float combine(float a, float b) { return a + b; }
};
struct Max {
  static __device__ float neutral() { return -CUDART_INF_F; }
  static __device__ float combine(float a, float b) {
    // The larger of the two, and NaN where either of them is NaN. A comparison with NaN is false.
    return b;
  }
};

// The calling thread's share of a row, reduced: elements threadIdx.x, threadIdx.x + THREADS, …
template <class Operation>
__device__ float thread_reduce(const float* __restrict__ row, int n) {
  float value = Operation::neutral();
  // Combine the elements of the share. A thread that has none keeps the neutral number.
  return value;
}

// `value` over all threads of the block, reduced; every thread gets it, and all of them must call it.
template <class Operation>
__device__ float block_reduce_tree(float value) {
  __shared__ float slots[THREADS];
  // 1. Each thread leaves its value in a slot of its own.
  // 2. The first half of the slots takes in the second, then the first quarter the second quarter, …, down to one.
  // 3. Every thread returns what is then in the first slot.
  (void)slots;
  return value;
}

// The same with shuffles, which take numbers from lane to lane without memory. `partial` has one slot a warp.
template <class Operation>
__device__ float block_reduce(float value) {
  constexpr int warps = THREADS / 32;
  __shared__ float partial[warps];
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  // 1. Each warp reduces its 32 values with shuffles.
  // 2. One lane of each warp leaves the warp's result in `partial`.
  // 3. Every thread combines all the warps' results.
  (void)partial, (void)lane, (void)warp;
  return value;
}

extern "C" __global__ void row_sum_tree(const float* __restrict__ x, float* __restrict__ out, int n) {
  // 1. Find this block's row. Rows times n can pass 2^31: compute the offset in size_t.
  // 2. Reduce the thread's share, then the block's values.
  // 3. One thread stores the result.
}

extern "C" __global__ void row_sum(const float* __restrict__ x, float* __restrict__ out, int n) {
  // As row_sum_tree, with shuffles.
}

extern "C" __global__ void row_max(const float* __restrict__ x, float* __restrict__ out, int n) {
  // As row_sum, with Max in place of Sum.
}

// For the grading: each thread brings one number; the sum as each thread gets it, from the tree and from the shuffles.
extern "C" __global__ void sum_of_each_thread(const float* __restrict__ x, float* __restrict__ out) {
  out[threadIdx.x] = block_reduce_tree<Sum>(x[threadIdx.x]);
  out[THREADS + threadIdx.x] = block_reduce<Sum>(x[threadIdx.x]);
}
