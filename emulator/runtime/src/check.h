// What the scheduler tells the checker. Only launches with `Request::checked` come here.
#pragma once
#include "runtime.h"

namespace emu {
namespace check {
void on_barrier_arrival(BlockRun* run, Thread* t, int line);
void on_barrier(BlockRun* run);
void on_collective_arrival(BlockRun* run, Thread* t, unsigned mask);
void on_collective(BlockRun* run, Warp* warp, unsigned members, int operation);
void on_fence(BlockRun* run, Thread* t);
void on_spin(BlockRun* run, int line);
void on_thread_end(BlockRun* run, Thread* t);
}  // namespace check
}  // namespace emu
