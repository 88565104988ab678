// Runs the threads of a block as fibers. A thread that never waits costs no switch: the next thread starts on
// its stack.
#include "fiber.h"
#include "check.h"

#include <sched.h>
#include <sys/mman.h>

extern "C" {
__thread emu::Thread* emu_thread;
__thread emu::Block emu_block;
}

#if defined(__x86_64__) && !defined(EMU_PORTABLE)
// Callee-saved registers, then the address to come back to, on top of the stack that is put aside.
asm(R"(.text
.globl emu_switch
.hidden emu_switch
emu_switch:
  push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15
  lea 1f(%rip), %rcx
  push %rcx
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %rcx
  jmp *%rcx
1: pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp
  ret
)");
#endif

namespace emu {

__thread Worker* worker;

static inline unsigned lane_bit(const Thread* t) { return 1u << (t->linear & 31); }
static inline unsigned warp_bit(const Thread* t) { return 1u << (t->linear >> 5); }

// ---- which thread goes next
// ------------------------------------------------------------------------------------

static inline int choose_bit(Worker* w, unsigned candidates) {
  int order = w->request->order;
  if (__builtin_expect(order == 0, 1)) return __builtin_ctz(candidates);
  if (order == 1) return 31 - __builtin_clz(candidates);
  w->random = w->random * 6364136223846793005ull + 1442695040888963407ull;  // Knuth, MMIX
  unsigned skip = w->random >> 59, above = candidates >> skip;
  return above ? __builtin_ctz(above) + skip : __builtin_ctz(candidates);
}

// A runnable thread of the block, or null. Stays within the current warp while it can, except in random
// orders.
static inline Thread* choose(Worker* w) {
  BlockRun* run = w->run;
  if (!run->warp[run->current_warp].runnable || w->request->order > 1) {
    if (!run->runnable_warps) return nullptr;
    run->current_warp = choose_bit(w, run->runnable_warps);
  }
  return &run->thread[run->current_warp * 32 + choose_bit(w, run->warp[run->current_warp].runnable)];
}

static inline void make_unrunnable(BlockRun* run, Thread* t) {
  if (!(t->warp->runnable &= ~lane_bit(t))) run->runnable_warps &= ~warp_bit(t);
}

// ---- stacks
// ----------------------------------------------------------------------------------------------------

static void fiber_main();

static void* take_stack(Worker* w, Thread* t) {
  const size_t stride = stack_bytes + guard_bytes;
  bool first_use = w->free_count == 0;
  if (first_use && w->used_count == w->stack_count)
    fail(out_of_memory, 0, "no stack is left for one more waiting thread");
  t->stack = first_use ? (int)w->used_count++ : w->free_stacks[--w->free_count];
  char* base = w->stacks + (size_t)t->stack * stride;
  if (first_use && w->stack_count <= 8192) mprotect(base, guard_bytes, PROT_NONE);  // more would exhaust the map count
  // Shifted from one stack to the next, so that their hot ends do not all fall into the same cache sets.
  return new_stack(base + stride - 64 - t->stack * 832 % 2048, fiber_main);
}

static inline Thread* make_ready(Worker* w, Thread* t) {
  if (!(t->warp->started & lane_bit(t))) {
    t->warp->started |= lane_bit(t);
    t->stack_pointer = take_stack(w, t);
  }
  return t;
}

// ---- waiting
// ---------------------------------------------------------------------------------------------------

const char* operation_name(int operation) {
  switch (operation) {
    case op_shuffle:
      return "a warp shuffle";
    case op_ballot:
      return "a warp vote";
    case op_syncwarp:
      return "__syncwarp";
    case op_match_any:
    case op_match_all:
      return "a warp match";
    case op_call:
      return "a warp matrix operation";
    case op_barrier:
      return "__syncthreads";
    case op_grid_barrier:
      return "grid.sync()";
    case op_spin:
      return "a loop that polls memory";
    default:
      return "a warp reduction";
  }
}

// Nothing in the block can go on: say who waits where, in runs of threads with the same fate.
[[noreturn]] static void report_stuck(BlockRun* run) {
  char text[900];
  int length = 0, last_state = -1, line = 0;
  for (int i = 0; i < run->threads && length < 700; i++) {
    Thread* t = &run->thread[i];
    bool live = t->warp->live & lane_bit(t);
    int state = live ? t->line * 32 + t->operation : -2;
    if (state == last_state) continue;
    last_state = state;
    length += snprintf(text + length, sizeof text - length, "%sfrom thread (%u,%u,%u) on: ", length ? "; " : "",
                       t->index.x, t->index.y, t->index.z);
    if (live) {
      if (!line) line = t->line;
      length += snprintf(text + length, sizeof text - length, "waiting in %s at line %d", operation_name(t->operation),
                         t->line);
    } else {
      length += snprintf(text + length, sizeof text - length, "ended");
    }
  }
  bool at_barrier = emu_block.waiting > 0 || run->at_grid_barrier > 0;
  fail(at_barrier ? barrier_divergence : collective_divergence, line, "no thread of the block can go on; %s", text);
}

static inline bool waits_for_others(const BlockRun* run) {  // other blocks can still wake it
  return worker->request->checked && run->at_grid_barrier > 0 && run->at_grid_barrier == emu_block.live;
}

// The fiber to go on with when `self` cannot, or null for the stack that entered the block.
static Thread* next_or_leave(Worker* w, Thread* self) {
  BlockRun* run = w->run;
  if (!self->warp->runnable) run->runnable_warps &= ~warp_bit(self);
  Thread* next = choose(w);
  if (next) return make_ready(w, next);
  if (waits_for_others(run)) return nullptr;
  report_stuck(run);
}

extern "C" EMU_API Thread* emu_next_thread(Thread* self) { return next_or_leave(worker, self); }

static void go_to(Thread* self, Thread* next) {
  if (next) {
    emu_thread = next;
    emu_switch(&self->stack_pointer, next->stack_pointer);
  } else {
    emu_switch(&self->stack_pointer, worker->main_stack);
  }
}

void wait(Thread* self) {
  make_unrunnable(worker->run, self);
  go_to(self, next_or_leave(worker, self));
}

// Let others go first; in a cooperative launch, other blocks too.
extern "C" EMU_API void emu_yield(int line) {
  Worker* w = worker;
  BlockRun* run = w->run;
  Thread* self = emu_thread;
  if (line) self->line = line;
  self->operation = op_spin;
  if (w->request->checked) check::on_spin(run, line);
  make_unrunnable(run, self);
  Thread* next = choose(w);
  self->warp->runnable |= lane_bit(self);
  run->runnable_warps |= warp_bit(self);
  if (next) {
    go_to(self, make_ready(w, next));
  } else if (w->request->checked && w->request->cooperative) {
    go_to(self, nullptr);
  } else if (!w->request->checked) {  // under the checker one OS thread runs everything: none waits for this one
    sched_yield();
  }
}

// ---- barriers
// --------------------------------------------------------------------------------------------------

static void make_all_runnable(BlockRun* run) {
  for (int i = 0; i < run->warps; i++) {
    if ((run->warp[i].runnable = run->warp[i].live)) run->runnable_warps |= 1u << i;
  }
}

extern "C" EMU_API void emu_barrier_complete() {
  BlockRun* run = worker->run;
  emu_block.waiting = 0;
  run->predicate_result = run->predicate_sum;
  run->predicate_sum = 0;
  make_all_runnable(run);
  if (worker->request->checked) check::on_barrier(run);
}

extern "C" EMU_API void emu_barrier(int line) {
  BlockRun* run = worker->run;
  Thread* self = emu_thread;
  self->pc = __builtin_return_address(0);
  self->line = line;
  self->operation = op_barrier;
  if (worker->request->checked) check::on_barrier_arrival(run, self, line);
  if (emu_block.waiting == 0) run->barrier_line = line, run->barrier_thread = (int)self->linear;
  if (++emu_block.waiting == emu_block.live) {
    emu_barrier_complete();
  } else {
    wait(self);
  }
}

extern "C" EMU_API int emu_barrier_count(int predicate, int line) {
  BlockRun* run = worker->run;
  run->predicate_sum += predicate;
  emu_barrier(line);
  return run->predicate_result;  // no later barrier can complete before this thread has read it
}

void release_grid_barrier(BlockRun* run) {
  run->at_grid_barrier = 0;
  make_all_runnable(run);
}

extern "C" EMU_API void emu_grid_barrier(int line) {
  Worker* w = worker;
  BlockRun* run = w->run;
  Thread* self = emu_thread;
  if (!w->request->cooperative) {
    fail(trap, line, "grid.sync() needs a cooperative launch: RawModule(…, enable_cooperative_groups=True)");
  }
  self->line = line;
  self->operation = op_grid_barrier;
  self->pc = __builtin_return_address(0);
  if (++run->at_grid_barrier == emu_block.live && !w->request->checked) {
    grid_barrier_of_workers(w);
    release_grid_barrier(run);
  } else {
    wait(self);
  }
}

extern "C" EMU_API void emu_fence(int line) {
  (void)line;
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  if (worker->request->checked) check::on_fence(worker->run, emu_thread);
}

// ---- what checked kernels ask for by value ---------------------------------------------------------------------

extern "C" EMU_API uint3 emu_thread_index() { return emu_thread->index; }
extern "C" EMU_API uint3 emu_block_index() { return emu_block.index; }
extern "C" EMU_API uint3 emu_block_dimensions() { return emu_block.dimensions; }
extern "C" EMU_API uint3 emu_grid_dimensions() { return emu_block.grid; }
extern "C" EMU_API unsigned emu_linear_index() { return emu_thread->linear; }

// ---- a fiber's life
// --------------------------------------------------------------------------------------------

static void thread_ended(Worker* w, Thread* t) {
  BlockRun* run = w->run;
  Warp* warp = t->warp;
  warp->live &= ~lane_bit(t);
  make_unrunnable(run, t);
  emu_block.live--;
  if (w->request->checked) check::on_thread_end(run, t);
  // Those who wait for this thread wait in vain: barriers and collectives count the living only.
  if (emu_block.waiting && emu_block.waiting == emu_block.live) emu_barrier_complete();
  for (unsigned rest = warp->arrived; rest; rest &= rest - 1) {
    int lane = __builtin_ctz(rest);
    unsigned members = warp->mask[lane] & warp->live;
    if ((warp->arrived >> lane & 1) && (warp->arrived & members) == members) {
      emu_collective_complete(warp, members, t[lane - (int)(t->linear & 31)].operation);
    }
  }
}

static void fiber_main() {
  void* abandoned;
  for (;;) {
    Worker* w = worker;
    w->request->run(w->request->args);
    w = worker;
    Thread* self = emu_thread;
    int stack = self->stack;
    thread_ended(w, self);
    Thread* next = choose(w);
    if (next && !(next->warp->started & lane_bit(next))) {  // the fast path: on the same stack, without a switch
      next->warp->started |= lane_bit(next);
      next->stack = stack;
      emu_thread = next;
      continue;
    }
    if (!next && emu_block.live > 0 && !waits_for_others(w->run)) report_stuck(w->run);
    w->free_stacks[w->free_count++] = stack;
    emu_thread = next;
    emu_switch(&abandoned, next ? next->stack_pointer : w->main_stack);
  }
}

bool finished(const BlockRun* run) { return run->started && run->view.live == 0; }

void prepare_block(Worker* w, BlockRun* run, uint64_t linear_block) {
  const Request* r = w->request;
  uint64_t x = r->grid[0], y = r->grid[1];
  run->view.index = {(unsigned)(linear_block % x), (unsigned)(linear_block / x % y), (unsigned)(linear_block / x / y)};
  run->view.dimensions = {r->block[0], r->block[1], r->block[2]};
  run->view.grid = {r->grid[0], r->grid[1], r->grid[2]};
  int threads = (int)(r->block[0] * r->block[1] * r->block[2]);
  run->view.live = threads;
  run->view.waiting = 0;
  if (run->threads != threads || run->thread[threads - 1].index.x != r->block[0] - 1 ||
      run->thread[threads - 1].index.y != r->block[1] - 1) {  // the same from block to block
    for (unsigned i = 0; i < (unsigned)threads; i++) {
      Thread* t = &run->thread[i];
      t->index = {i % r->block[0], i / r->block[0] % r->block[1], i / r->block[0] / r->block[1]};
      t->linear = i;
      t->warp = &run->warp[i / 32];
    }
    run->threads = threads;
    run->warps = (threads + 31) / 32;
  }
  run->runnable_warps = run->warps == 32 ? ~0u : (1u << run->warps) - 1;
  run->current_warp = run->at_grid_barrier = run->predicate_sum = 0;
  run->spins = 0;
  run->started = false;
  for (int i = 0; i < run->warps; i++) {
    int lanes = threads - i * 32;
    run->warp[i].live = run->warp[i].runnable = lanes >= 32 ? ~0u : (1u << lanes) - 1;
    run->warp[i].started = run->warp[i].arrived = 0;
  }
}

void enter_block(Worker* w, BlockRun* run) {
  w->run = run;
  run->started = true;
  emu_block = run->view;
  Thread* first = make_ready(w, choose(w));
  emu_thread = first;
  emu_switch(&w->main_stack, first->stack_pointer);
  run->view = emu_block;
}

}  // namespace emu
