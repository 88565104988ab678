// Stackful fibers: one stack for each CUDA thread that waits. See also `switch_stack` in emu/execution.h,
// which does the same from inside a kernel.
#pragma once
#include "runtime.h"

#if defined(__x86_64__) && !defined(EMU_PORTABLE)
extern "C" void emu_switch(void** save, void* target);

namespace emu {
// A stack whose first switch enters `entry` as if it had just been called.
static inline void* new_stack(char* top, void (*entry)()) {
  void** slot = (void**)((uintptr_t)top & ~(uintptr_t)15);
  *--slot = nullptr;
  *--slot = (void*)entry;
  return slot;
}
}  // namespace emu

#else
#include <ucontext.h>

// Portable and slower: a suspended stack is known by the address of its ucontext, which lies on it.
static inline void emu_switch(void** save, void* target) {
  ucontext_t here;
  *save = &here;
  swapcontext(&here, (ucontext_t*)target);
}

namespace emu {
static inline void* new_stack(char* top, void (*entry)()) {
  char* place = (char*)((uintptr_t)(top - sizeof(ucontext_t)) & ~(uintptr_t)63);
  ucontext_t* context = (ucontext_t*)place;
  getcontext(context);
  context->uc_stack.ss_sp = top - stack_bytes;
  context->uc_stack.ss_size = place - (top - stack_bytes);
  context->uc_link = nullptr;
  makecontext(context, entry, 0);
  return context;
}
}  // namespace emu
#endif
