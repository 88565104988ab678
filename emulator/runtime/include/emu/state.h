// The state of a running block, as the kernel and the runtime both see it.
#pragma once
#include "emu/platform.h"
#include "emu/vector_types.h"

namespace emu {

// What a thread can wait in.
enum Operation {
  op_shuffle,
  op_ballot,
  op_syncwarp,
  op_match_any,
  op_match_all,
  op_add,
  op_min,
  op_max,
  op_min_unsigned,
  op_max_unsigned,
  op_and,
  op_or,
  op_xor,
  op_call,          // the last lane to arrive computes for all of them (matrix fragments)
  op_barrier,       // __syncthreads
  op_grid_barrier,  // grid.sync()
  op_spin,          // polls memory that another thread must change
};

struct Warp;

struct Thread {
  uint3 index;          // threadIdx
  unsigned linear;      // x + y·Dx + z·Dx·Dy; its lane is linear % 32
  void* stack_pointer;  // where its fiber goes on
  Warp* warp;
  int stack;      // which stack its fiber uses
  int line;       // the line of the kernel where it waits
  int operation;  // and what it waits in
  void* pc;       // checked launches: where it called that
};

struct Warp {  // one bit a lane in each mask
  unsigned live, runnable, started, arrived;
  uint64_t value[32], result[32];  // what lanes bring to a collective, and what they take away
  int source[32];                  // the lane that a shuffle reads
  unsigned mask[32];               // the mask that the lane's call named
  void (*call)(uint64_t* values);
};

struct Block {
  uint3 index, dimensions, grid;  // blockIdx, blockDim, gridDim
  int waiting, live;              // threads at the barrier; threads that have not ended
};

}  // namespace emu

// Initial-exec: one instruction to read. They live in the runtime, which is loaded before any kernel.
#define EMU_TLS_API __attribute__((tls_model("initial-exec"), visibility("default")))
extern "C" {
extern EMU_TLS_API __thread emu::Thread* emu_thread;  // the CUDA thread that this OS thread runs
extern EMU_TLS_API __thread emu::Block emu_block;     // and its block

EMU_API void emu_barrier(int line);
EMU_API int emu_barrier_count(int predicate, int line);
EMU_API void emu_barrier_complete(void);
EMU_API void emu_grid_barrier(int line);
EMU_API uint64_t emu_collective(int operation, unsigned mask, uint64_t value, int source, int line);
EMU_API uint64_t emu_collective_call(void (*call)(uint64_t* values), uint64_t value, int line);
EMU_API void emu_collective_complete(emu::Warp* warp, unsigned members, int operation);
EMU_API emu::Thread* emu_next_thread(emu::Thread* self);
EMU_API unsigned emu_active_mask(void);
EMU_API void emu_yield(int line);
EMU_API void emu_trap(const char* what, int line);
EMU_API void emu_fence(int line);
EMU_API int emu_printf(const char* format, ...) __attribute__((format(printf, 1, 2)));
#ifdef EMU_CHECK
// By value, and pure: `threadIdx.x` then reads no memory that the checker would have to tell from the
// kernel's own.
EMU_API uint3 emu_thread_index(void) __attribute__((const));
EMU_API uint3 emu_block_index(void) __attribute__((const));
EMU_API uint3 emu_block_dimensions(void) __attribute__((const));
EMU_API uint3 emu_grid_dimensions(void) __attribute__((const));
EMU_API unsigned emu_linear_index(void) __attribute__((const));
#endif
}
