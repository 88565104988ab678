// Pairs of bfloat16 that start at an odd element.
// ---
// block: 8
// args: [x bfloat16[32] random, out float32[8] output]
// fault: misaligned
// array: x
// ---
#include <cuda_bf16.h>
extern "C" __global__ void k(const __nv_bfloat16* x, float* out) {
  __nv_bfloat162 v = *reinterpret_cast<const __nv_bfloat162*>(x + 1 + 2 * threadIdx.x);  // FAULT
  float2 f = __bfloat1622float2(v);
  out[threadIdx.x] = f.x + f.y;
}
