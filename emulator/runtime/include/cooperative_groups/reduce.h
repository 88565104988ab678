#pragma once
#include "cooperative_groups.h"

namespace cooperative_groups {

template <class T>
struct plus {
  T operator()(T a, T b) const { return a + b; }
};
template <class T>
struct greater {
  T operator()(T a, T b) const { return a > b ? a : b; }
};  // the larger of two
template <class T>
struct less {
  T operator()(T a, T b) const { return a < b ? a : b; }
};
template <class T>
struct bit_and {
  T operator()(T a, T b) const { return a & b; }
};
template <class T>
struct bit_or {
  T operator()(T a, T b) const { return a | b; }
};
template <class T>
struct bit_xor {
  T operator()(T a, T b) const { return a ^ b; }
};

template <unsigned lanes, class Parent, class T, class Operation>
EMU_FUNCTION T reduce(const thread_block_tile<lanes, Parent>& tile, T value, Operation operation, EMU_LINE) {
  for (unsigned distance = lanes / 2; distance; distance >>= 1) {
    value = operation(value, tile.shfl_xor(value, distance, line));
  }
  return value;
}

}  // namespace cooperative_groups
