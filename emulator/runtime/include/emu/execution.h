// threadIdx and its kin, barriers, and how a thread waits.
#pragma once
#include "emu/state.h"

#ifdef EMU_CHECK
#define threadIdx (emu_thread_index())
#define blockIdx (emu_block_index())
#define blockDim (emu_block_dimensions())
#define gridDim (emu_grid_dimensions())
EMU_FUNCTION unsigned emu_linear() { return emu_linear_index(); }
#else
#define threadIdx (emu_thread->index)
#define blockIdx (emu_block.index)
#define blockDim (emu_block.dimensions)
#define gridDim (emu_block.grid)
EMU_FUNCTION unsigned emu_linear() { return emu_thread->linear; }
#endif
#define warpSize 32
EMU_FUNCTION int emu_lane() { return emu_linear() & 31; }

namespace emu {

#if defined(__x86_64__) && !defined(EMU_CHECK) && !defined(EMU_PORTABLE)
#define EMU_INLINE_SWITCH 1
#ifdef __AVX512F__
#define EMU_CLOBBER_AVX512                                                                                      \
  , "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27", \
      "xmm28", "xmm29", "xmm30", "xmm31", "k1", "k2", "k3", "k4", "k5", "k6", "k7"
#else
#define EMU_CLOBBER_AVX512
#endif
// Go on with another fiber, from the middle of the kernel. Every register is declared lost, so the compiler
// saves only what is alive here: about a third of what a function call would save. The address to come back
// to is left on top of the stack that is put aside, which is what `new_stack` in fiber.h imitates. Needs
// -mno-red-zone.
EMU_INLINE void switch_stack(void** save, void* target) {
  asm volatile(
      "push %%rbp\n\tlea 1f(%%rip), %%rcx\n\tpush %%rcx\n\tmov %%rsp, (%0)\n\t"
      "mov %1, %%rsp\n\tpop %%rcx\n\tjmp *%%rcx\n1:\tpop %%rbp"
      : "+D"(save), "+S"(target)
      :
      : "memory", "cc", "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "xmm0",
        "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13",
        "xmm14", "xmm15" EMU_CLOBBER_AVX512);
}

// Put this thread aside until somebody makes it runnable, and go on with a lane of the same warp where there
// is one.
EMU_INLINE void park(Thread* self, Warp* warp, unsigned lane) {
  unsigned others = (warp->runnable &= ~(1u << lane)) & warp->started;
  Thread* next;
  if (__builtin_expect(others != 0, 1)) {
    next = self + (int)(__builtin_ctz(others) - lane);
  } else {
    next = emu_next_thread(self);
  }
  emu_thread = next;
  switch_stack(&self->stack_pointer, next->stack_pointer);
}

EMU_INLINE uint64_t collective(int operation, unsigned mask, uint64_t value, int source, int line) {
  Thread* self = emu_thread;
  Warp* warp = self->warp;
  unsigned lane = self->linear & 31, bit = 1u << lane, members = mask & warp->live;
  if (__builtin_expect(!(mask & bit), 0)) return emu_collective(operation, mask, value, source, line);
  warp->arrived |= bit;
  warp->value[lane] = value;
  warp->source[lane] = source;
  warp->mask[lane] = mask;
  self->line = line;
  self->operation = operation;
  if ((warp->arrived & members) == members) {
    emu_collective_complete(warp, members, operation);
  } else {
    park(self, warp, lane);
  }
  return warp->result[lane];
}

EMU_INLINE void barrier(int line) {
  Thread* self = emu_thread;
  self->line = line;
  self->operation = op_barrier;
  if (++emu_block.waiting == emu_block.live) {
    emu_barrier_complete();
  } else {
    park(self, self->warp, self->linear & 31);
  }
}
#else
EMU_INLINE uint64_t collective(int operation, unsigned mask, uint64_t value, int source, int line) {
  return emu_collective(operation, mask, value, source, line);
}
EMU_INLINE void barrier(int line) { emu_barrier(line); }
#endif

}  // namespace emu

EMU_INLINE void __syncthreads(EMU_LINE) { emu::barrier(line); }
EMU_FUNCTION int __syncthreads_count(int predicate, EMU_LINE) { return emu_barrier_count(predicate != 0, line); }
EMU_FUNCTION int __syncthreads_or(int predicate, EMU_LINE) { return emu_barrier_count(predicate != 0, line) > 0; }
EMU_FUNCTION int __syncthreads_and(int predicate, EMU_LINE) { return emu_barrier_count(predicate == 0, line) == 0; }

EMU_FUNCTION void __threadfence(EMU_LINE) { emu_fence(line); }
EMU_FUNCTION void __threadfence_block(EMU_LINE) { emu_fence(line); }
EMU_FUNCTION void __threadfence_system(EMU_LINE) { emu_fence(line); }
EMU_FUNCTION void __nanosleep(unsigned, EMU_LINE) { emu_yield(line); }
#define __trap() emu_trap("__trap()", __LINE__)
#undef assert
#ifdef NDEBUG
#define assert(condition) ((void)0)
#else
#define assert(condition) ((condition) ? (void)0 : emu_trap("assert(" #condition ")", __LINE__))
#endif
#define printf emu_printf

#if defined(__x86_64__)
EMU_FUNCTION long long clock64() { return __builtin_ia32_rdtsc(); }
#elif defined(__aarch64__)
EMU_FUNCTION long long clock64() {
  long long ticks;
  asm volatile("mrs %0, cntvct_el0" : "=r"(ticks));
  return ticks;
}
#endif
EMU_FUNCTION int emu_clock() { return (int)clock64(); }
#define clock emu_clock  // libc has a function of that name
