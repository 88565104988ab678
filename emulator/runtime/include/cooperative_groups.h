// Cooperative groups: the block, the grid, and tiles of 2ⁿ lanes.
#pragma once
#include "emu/collectives.h"

namespace cooperative_groups {

struct thread_block {
  void sync(EMU_LINE) const { emu::barrier(line); }
  unsigned thread_rank() const { return emu_linear(); }
  unsigned size() const { return blockDim.x * blockDim.y * blockDim.z; }
  unsigned num_threads() const { return size(); }
  dim3 group_index() const { return dim3(blockIdx.x, blockIdx.y, blockIdx.z); }
  dim3 thread_index() const { return dim3(threadIdx.x, threadIdx.y, threadIdx.z); }
  dim3 group_dim() const { return dim3(blockDim.x, blockDim.y, blockDim.z); }
};

struct grid_group {
  void sync(EMU_LINE) const { emu_grid_barrier(line); }
  bool is_valid() const { return true; }
  unsigned long long num_blocks() const { return (unsigned long long)gridDim.x * gridDim.y * gridDim.z; }
  unsigned long long block_rank() const {
    return ((unsigned long long)blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  }
  unsigned long long size() const { return num_blocks() * thread_block().size(); }
  unsigned long long num_threads() const { return size(); }
  unsigned long long thread_rank() const { return block_rank() * thread_block().size() + emu_linear(); }
};

template <unsigned lanes, class Parent = void>
struct thread_block_tile {
  static_assert(lanes >= 1 && lanes <= 32 && (lanes & (lanes - 1)) == 0, "a tile has 1, 2, 4, 8, 16 or 32 lanes");
  thread_block_tile() = default;
  template <class Other>
  thread_block_tile(const thread_block_tile<lanes, Other>&) {}
  unsigned mask() const { return lanes == 32 ? ~0u : ((1u << lanes) - 1) << (emu_lane() & ~(lanes - 1)); }
  void sync(EMU_LINE) const { __syncwarp(mask(), line); }
  unsigned thread_rank() const { return emu_linear() & (lanes - 1); }
  unsigned meta_group_rank() const { return emu_linear() / lanes; }
  unsigned meta_group_size() const { return (thread_block().size() + lanes - 1) / lanes; }
  static constexpr unsigned size() { return lanes; }
  static constexpr unsigned num_threads() { return lanes; }
  template <class T>
  T shfl(T v, int source, EMU_LINE) const {
    return __shfl_sync(mask(), v, source, lanes, line);
  }
  template <class T>
  T shfl_xor(T v, int d, EMU_LINE) const {
    return __shfl_xor_sync(mask(), v, d, lanes, line);
  }
  template <class T>
  T shfl_up(T v, unsigned d, EMU_LINE) const {
    return __shfl_up_sync(mask(), v, d, lanes, line);
  }
  template <class T>
  T shfl_down(T v, unsigned d, EMU_LINE) const {
    return __shfl_down_sync(mask(), v, d, lanes, line);
  }
  unsigned ballot(int p, EMU_LINE) const {
    return (__ballot_sync(mask(), p, line) & mask()) >> (emu_lane() & ~(lanes - 1));
  }
  int any(int p, EMU_LINE) const { return ballot(p, line) != 0; }
  int all(int p, EMU_LINE) const { return ballot(!p, line) == 0; }
};

EMU_FUNCTION thread_block this_thread_block() { return {}; }
EMU_FUNCTION grid_group this_grid() { return {}; }
template <unsigned lanes, class Group>
EMU_FUNCTION thread_block_tile<lanes, Group> tiled_partition(const Group&) {
  return {};
}
template <class Group>
EMU_FUNCTION void sync(const Group& group, EMU_LINE) {
  group.sync(line);
}

}  // namespace cooperative_groups
