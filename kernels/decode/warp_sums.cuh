// Sums over a warp, of several numbers at once.
#pragma once
#include "warp_sum.cuh"  // day 6

// The sums over a warp of four numbers a lane, in six shuffles and not twenty: lane l gets that of number l / 8.
__device__ __forceinline__ float four_sums(const float (&of)[4]) {
  bool high = threadIdx.x & 16, odd = threadIdx.x & 8;  // half of the lanes go on with 0 and 1, the others with 2 and 3
  float first = high ? of[2] : of[0], second = high ? of[3] : of[1];
  first += __shfl_xor_sync(0xffffffffu, high ? of[0] : of[2], 16);
  second += __shfl_xor_sync(0xffffffffu, high ? of[1] : of[3], 16);
  float sum = odd ? second : first;
  sum += __shfl_xor_sync(0xffffffffu, odd ? first : second, 8);
  for (int distance = 4; distance > 0; distance /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, distance);
  return sum;
}

// The same of one, two or four numbers: lane l gets the sum of number l / (32 / COUNT).
template <int COUNT>
__device__ __forceinline__ float sums_over_warp(const float (&of)[COUNT]) {
  static_assert(COUNT == 1 || COUNT == 2 || COUNT == 4, "one number is left to a lane, after five rounds at most");
  if constexpr (COUNT == 4) {
    return four_sums(of);
  } else if constexpr (COUNT == 2) {
    bool high = threadIdx.x & 16;
    float sum = (high ? of[1] : of[0]) + __shfl_xor_sync(0xffffffffu, high ? of[0] : of[1], 16);
    for (int distance = 8; distance > 0; distance /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, distance);
    return sum;
  } else {
    return warp_sum(of[0]);
  }
}
