// KV cache: the keys and values of new tokens go behind those that are there.
//
// One thread for each number of k, which takes v's number at the same place along. New rows lie next to each other in the cache
// too, so both are plain copies, from the first number of row `length` on.
//
//   k, v           [tokens, width], row after row       width = kv_heads · head_dim
//   keys, values   [capacity, width], row after row     rows 0 to length - 1 are filled; the host has seen to it that the new
//                                                       ones fit
//   grid           a thread for each number of k, at least       block: THREADS threads
#ifndef THREADS
#define THREADS 256
#endif

extern "C" __global__ void cache_append(const float* __restrict__ k, const float* __restrict__ v,
                                        float* __restrict__ keys, float* __restrict__ values, int tokens, int length,
                                        int width) {
  // solve: begin
  // stub: // 1. Which number of k is this thread's? The last block has threads without one.
  // stub: // 2. Where does row `length` of the cache start? Rows times width can pass 2^31: size_t.
  // stub: // 3. Copy one number of k and one of v.
  size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
  if (i >= (size_t)tokens * width) return;
  size_t first = (size_t)length * width;
  keys[first + i] = k[i];
  values[first + i] = v[i];
  // solve: end
}
