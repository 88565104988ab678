// The runtime's own state: what runs a grid of CUDA threads on a few OS threads.
#pragma once
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EMU_RUNTIME
#include "emu/state.h"
#undef printf
#undef assert

namespace emu {

enum { max_threads = 1024, max_warps = 32, stack_bytes = 64 * 1024, guard_bytes = 4096 };

// How a launch ended; `Failure::kind`. emulator/launch.py has the same list.
enum FailureKind {
  no_failure,
  memory_fault,
  arithmetic_fault,
  stack_overflow,
  illegal_instruction,
  trap,
  barrier_divergence,
  collective_divergence,
  deadlock,
  timeout,
  interrupted,
  out_of_memory,
  check_finding,
};

struct Failure {
  int kind, line;            // line 0: not known, see `pc`
  uint64_t pc, module_base;  // 0: none
  uint32_t block[3], thread[3];
  char message[1024];
};

// What a caller asks for: the same layout as `LaunchRequest` in emulator/launch.py.
struct Request {
  void (*run)(void** args);
  void** args;
  uint32_t grid[3], block[3];
  uint64_t shared_bytes;
  int32_t workers, cooperative, checked, order;  // order: 0 forward, 1 reverse, 2… random with that seed
  double time_limit_s;
};

// One block being run, with all its threads.
struct BlockRun {
  Block view;  // copied into `emu_block` while the block runs
  unsigned runnable_warps;
  int current_warp, warps, threads;
  int at_grid_barrier;                  // threads that wait for the whole grid
  int predicate_sum, predicate_result;  // __syncthreads_count
  int barrier_line, barrier_thread;     // who came first, for the message
  unsigned spins;                       // yields since anything else happened
  bool started;
  Warp warp[max_warps];
  Thread thread[max_threads];
};

// One OS thread at work on a launch.
struct Worker {
  pthread_t os_thread;
  BlockRun* run;     // the block it runs now
  void* main_stack;  // the stack to go back to when no fiber can go on
  char* stacks;      // `stack_count` of them, each with a guard page below
  size_t stack_count;
  int* free_stacks;
  size_t free_count, used_count;
  sigjmp_buf* volatile escape;  // where a failure goes; null outside kernels
  uint64_t random;
  const Request* request;
};

extern __thread Worker* worker;
extern volatile int failed;  // 1 once anything failed in this launch

// scheduler.cpp
void prepare_block(Worker* w, BlockRun* run, uint64_t linear_block);
void enter_block(Worker* w,
                 BlockRun* run);  // until all its threads have ended, or wait for the grid, or yield
bool finished(const BlockRun* run);
void release_grid_barrier(BlockRun* run);
void wait(Thread* self);  // until somebody makes it runnable
const char* operation_name(int operation);

// faults.cpp
[[noreturn]] void fail(FailureKind kind, int line, const char* format, ...) __attribute__((format(printf, 3, 4)));
void record_failure(FailureKind kind, int line, const char* format, ...) __attribute__((format(printf, 3, 4)));
void launch_begins(const Request* request);
void launch_ends();
void register_worker(Worker* w);
void forget_worker(Worker* w);
void unblock_fault_signals();

// launch.cpp
void grid_barrier_of_workers(Worker* w);  // cooperative launches: one OS thread a block
void wake_grid_barrier();

}  // namespace emu
