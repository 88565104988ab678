#include "check.h"
namespace emu {
namespace check {
void on_barrier_arrival(BlockRun*, Thread*, int) {}
void on_barrier(BlockRun*) {}
void on_collective_arrival(BlockRun*, Thread*, unsigned) {}
void on_collective(BlockRun*, Warp*, unsigned, int) {}
void on_fence(BlockRun*, Thread*) {}
void on_spin(BlockRun*, int) {}
void on_thread_end(BlockRun*, Thread*) {}
}  // namespace check
}  // namespace emu
