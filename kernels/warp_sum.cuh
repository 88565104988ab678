// The sum over a warp, for kernels of which it is not the subject: day 6 builds it.
#pragma once

// The sum of `value` over the 32 lanes of the warp; every lane gets it, and all of them must call it.
__device__ __forceinline__ float warp_sum(float value) {
  for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(0xffffffffu, value, distance);
  return value;
}
