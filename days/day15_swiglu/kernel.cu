// SwiGLU: out[i] = silu(gate[i]) * up[i], with silu(g) = g / (1 + exp(-g))     (Shazeer, 2020)
//
// Each thread takes four neighbouring elements, 16 bytes of each array, and where the arrays end the up to three that are left.
//
//   gate, up, out   [count], each from a multiple of 16 bytes on
//   grid            as many blocks as give a thread for every four elements
//   block           THREADS threads
#ifndef THREADS
#define THREADS 256
#endif

__device__ __forceinline__ float swiglu_of(float gate, float up) {
  float value = up;
  // A gate of 100 must give 100 · up, one of -100 almost 0: which exponential overflows, and what comes of it?
  (void)gate;
  return value;
}

extern "C" __global__ void swiglu(const float* __restrict__ gate, const float* __restrict__ up, float* __restrict__ out,
                                  long long count) {
  // 1. Find the first of this thread's four elements, as a long long: there can be more than 2^31.
  // 2. Where all four exist: load a float4 of gate and one of up, and store one of out.
  // 3. Where the array ends before, take the ones that exist one by one. Where none exists, do nothing.
}
