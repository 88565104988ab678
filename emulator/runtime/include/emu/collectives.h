// Warp shuffles, votes, matches and reductions. `mask` names the lanes that take part; each of them waits for
// the others.
#pragma once
#include "emu/execution.h"

namespace emu {

template <class T>
EMU_INLINE uint64_t to_bits(T value) {
  static_assert(sizeof(T) <= 8, "a warp collective takes values of at most 8 bytes");
  uint64_t bits = 0;
  __builtin_memcpy(&bits, &value, sizeof value);
  return bits;
}

template <class T>
EMU_INLINE T from_bits(uint64_t bits) {
  T value;
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}

template <class T>
EMU_INLINE T shuffle(unsigned mask, T value, int source, int line) {
  return from_bits<T>(collective(op_shuffle, mask, to_bits(value), source, line));
}

EMU_INLINE int segment(int lane, int width) { return lane & ~(width - 1); }

}  // namespace emu

// A lane whose source lies outside its segment of `width` lanes reads its own value (CUDA C++ guide, warp
// shuffles).
template <class T>
EMU_INLINE T __shfl_sync(unsigned mask, T value, int source, int width = 32, EMU_LINE) {
  return emu::shuffle(mask, value, emu::segment(emu_lane(), width) | (source & (width - 1)), line);
}
template <class T>
EMU_INLINE T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32, EMU_LINE) {
  int lane = emu_lane(), source = lane ^ lanes;
  return emu::shuffle(mask, value, source < emu::segment(lane, width) + width ? source : lane, line);
}
template <class T>
EMU_INLINE T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, EMU_LINE) {
  int lane = emu_lane(), source = lane - (int)delta;
  return emu::shuffle(mask, value, source >= emu::segment(lane, width) ? source : lane, line);
}
template <class T>
EMU_INLINE T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, EMU_LINE) {
  int lane = emu_lane(), source = lane + (int)delta;
  return emu::shuffle(mask, value, source < emu::segment(lane, width) + width ? source : lane, line);
}

EMU_INLINE void __syncwarp(unsigned mask = 0xffffffffu, EMU_LINE) {
  emu::collective(emu::op_syncwarp, mask, 0, 0, line);
}
EMU_INLINE unsigned __ballot_sync(unsigned mask, int predicate, EMU_LINE) {
  return emu::collective(emu::op_ballot, mask, predicate != 0, 0, line);
}
EMU_INLINE int __any_sync(unsigned mask, int predicate, EMU_LINE) { return __ballot_sync(mask, predicate, line) != 0; }
EMU_INLINE int __all_sync(unsigned mask, int predicate, EMU_LINE) { return __ballot_sync(mask, !predicate, line) == 0; }
template <class T>
EMU_INLINE unsigned __match_any_sync(unsigned mask, T value, EMU_LINE) {
  return emu::collective(emu::op_match_any, mask, emu::to_bits(value), 0, line);
}
template <class T>
EMU_INLINE unsigned __match_all_sync(unsigned mask, T value, int* all_equal, EMU_LINE) {
  unsigned equal = emu::collective(emu::op_match_all, mask, emu::to_bits(value), 0, line);
  *all_equal = equal != 0;
  return equal;
}

#define EMU_REDUCE(NAME, T, OPERATION)                                         \
  EMU_INLINE T NAME(unsigned mask, T value, EMU_LINE) {                        \
    return (T)emu::collective(emu::OPERATION, mask, (uint32_t)value, 0, line); \
  }
EMU_REDUCE(__reduce_add_sync, int, op_add)
EMU_REDUCE(__reduce_add_sync, unsigned, op_add)
EMU_REDUCE(__reduce_min_sync, int, op_min)
EMU_REDUCE(__reduce_min_sync, unsigned, op_min_unsigned)
EMU_REDUCE(__reduce_max_sync, int, op_max)
EMU_REDUCE(__reduce_max_sync, unsigned, op_max_unsigned)
EMU_REDUCE(__reduce_and_sync, unsigned, op_and)
EMU_REDUCE(__reduce_or_sync, unsigned, op_or)
EMU_REDUCE(__reduce_xor_sync, unsigned, op_xor)
#undef EMU_REDUCE

EMU_INLINE unsigned __activemask() { return emu_active_mask(); }
