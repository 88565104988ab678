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
    // solve: begin
    // stub: // The larger of the two, and NaN where either of them is NaN. A comparison with NaN is false.
    if (a > b || a != a) return a;
    // solve: end
    return b;
  }
};

// The calling thread's share of a row, reduced: elements threadIdx.x, threadIdx.x + THREADS, …
template <class Operation>
__device__ float thread_reduce(const float* __restrict__ row, int n) {
  float value = Operation::neutral();
  // solve: begin
  // stub: // Combine the elements of the share. A thread that has none keeps the neutral number.
  for (int i = threadIdx.x; i < n; i += THREADS) value = Operation::combine(value, row[i]);
  // solve: end
  return value;
}

// `value` over all threads of the block, reduced; every thread gets it, and all of them must call it.
template <class Operation>
__device__ float block_reduce_tree(float value) {
  __shared__ float slots[THREADS];
  // solve: begin
  // stub: // 1. Each thread leaves its value in a slot of its own.
  // stub: // 2. The first half of the slots takes in the second, then the first quarter the second quarter, …, down to one.
  // stub: // 3. Every thread returns what is then in the first slot.
  // stub: (void)slots;
  // stub: return value;
  slots[threadIdx.x] = value;
  __syncthreads();
  for (int half = THREADS / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) slots[threadIdx.x] = Operation::combine(slots[threadIdx.x], slots[threadIdx.x + half]);
    __syncthreads();
  }
  return slots[0];
  // solve: end
}

// The same with shuffles, which take numbers from lane to lane without memory. `partial` has one slot a warp.
template <class Operation>
__device__ float block_reduce(float value) {
  constexpr int warps = THREADS / 32;
  __shared__ float partial[warps];
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  // solve: begin
  // stub: // 1. Each warp reduces its 32 values with shuffles.
  // stub: // 2. One lane of each warp leaves the warp's result in `partial`.
  // stub: // 3. Every thread combines all the warps' results.
  // stub: (void)partial, (void)lane, (void)warp;
  // stub: return value;
  for (int distance = 16; distance > 0; distance /= 2) {
    value = Operation::combine(value, __shfl_xor_sync(0xffffffffu, value, distance));
  }
  if (lane == 0) partial[warp] = value;
  __syncthreads();
  float total = Operation::neutral();
  for (int w = 0; w < warps; w++) total = Operation::combine(total, partial[w]);
  return total;
  // solve: end
}

extern "C" __global__ void row_sum_tree(const float* __restrict__ x, float* __restrict__ out, int n) {
  // solve: begin
  // stub: // 1. Find this block's row. Rows times n can pass 2^31: compute the offset in size_t.
  // stub: // 2. Reduce the thread's share, then the block's values.
  // stub: // 3. One thread stores the result.
  float sum = block_reduce_tree<Sum>(thread_reduce<Sum>(x + (size_t)blockIdx.x * n, n));
  if (threadIdx.x == 0) out[blockIdx.x] = sum;
  // solve: end
}

extern "C" __global__ void row_sum(const float* __restrict__ x, float* __restrict__ out, int n) {
  // solve: begin
  // stub: // As row_sum_tree, with shuffles.
  float sum = block_reduce<Sum>(thread_reduce<Sum>(x + (size_t)blockIdx.x * n, n));
  if (threadIdx.x == 0) out[blockIdx.x] = sum;
  // solve: end
}

extern "C" __global__ void row_max(const float* __restrict__ x, float* __restrict__ out, int n) {
  // solve: begin
  // stub: // As row_sum, with Max in place of Sum.
  float largest = block_reduce<Max>(thread_reduce<Max>(x + (size_t)blockIdx.x * n, n));
  if (threadIdx.x == 0) out[blockIdx.x] = largest;
  // solve: end
}

// For the grading: each thread brings one number; the sum as each thread gets it, from the tree and from the shuffles.
extern "C" __global__ void sum_of_each_thread(const float* __restrict__ x, float* __restrict__ out) {
  out[threadIdx.x] = block_reduce_tree<Sum>(x[threadIdx.x]);
  out[THREADS + threadIdx.x] = block_reduce<Sum>(x[threadIdx.x]);
}
