// Floats as whole numbers in the same order, and a number with its index as one key: what day 18 builds.
#pragma once

using Key = unsigned long long;
constexpr Key NONE = 0;              // less than every candidate
constexpr Key NOT_A_NUMBER = ~0ull;  // more than every candidate

// The bits of a float in the order of the floats. No NaN comes here.
__device__ __forceinline__ unsigned ordered(float value) {
  unsigned bits = __float_as_uint(value);
  if (bits == 0x80000000u) bits = 0;  // -0.0f is 0.0f
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// The candidate `value` at `index`: the larger number has the larger key, and of equal numbers the lower index.
__device__ __forceinline__ Key key_of(float value, int index) {
  return value == value ? (Key)ordered(value) << 32 | ~(unsigned)index : NOT_A_NUMBER;
}

// The index in a key; -1 for a NaN, or where there was no candidate.
__device__ __forceinline__ int index_of(Key key) {
  return key == NOT_A_NUMBER || key == NONE ? -1 : (int)~(unsigned)key;
}
