// Spreads the blocks of a grid over OS threads.
#include "fiber.h"
#include "check.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

namespace emu {

static uint64_t next_block, total_blocks;                         // of the launch in progress
static pthread_mutex_t launch_mutex = PTHREAD_MUTEX_INITIALIZER;  // one launch at a time

static inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// ---- workers
// -------------------------------------------------------------------------------------------------------

static void* allocate(size_t bytes) {  // zeroed, and costing memory only where it is touched
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return p == MAP_FAILED ? nullptr : p;
}

static void give_stacks(Worker* w, size_t count) {
  if (w->stack_count >= count) return;
  const size_t stride = stack_bytes + guard_bytes;
  if (w->stacks) munmap(w->stacks, w->stack_count * stride);
  free(w->free_stacks);
  w->stacks = (char*)allocate(count * stride);
  w->free_stacks = (int*)malloc(count * sizeof(int));
  w->stack_count = w->stacks ? count : 0;
  w->free_count = w->used_count = 0;
}

static Worker* make_worker() {
  Worker* w = (Worker*)calloc(1, sizeof *w);
  stack_t signal_stack = {};
  signal_stack.ss_size = 64 * 1024;
  signal_stack.ss_sp = malloc(signal_stack.ss_size);
  sigaltstack(&signal_stack, nullptr);  // a fault may be the overflow of the stack it happens on
  worker = w;
  unblock_fault_signals();
  register_worker(w);
  return w;
}

static void end_worker(Worker* w) {
  forget_worker(w);
  stack_t off = {}, old;
  off.ss_flags = SS_DISABLE;
  sigaltstack(&off, &old);
  free(old.ss_sp);
  munmap(w->stacks, w->stack_count * (stack_bytes + guard_bytes));
  free(w->free_stacks);
  free(w->run);
  free(w);
}

static size_t stacks_needed(const Request* request) {
  size_t resident = request->checked && request->cooperative ? total_blocks : 1;
  return resident * max_threads;
}

// Runs blocks until none is left or something failed; `only` ≥ 0 is the one block to run.
static void work(const Request* request, int64_t only) {
  Worker* w = worker ? worker : make_worker();
  BlockRun* run = w->run ? w->run : (w->run = (BlockRun*)calloc(1, sizeof *run));
  w->request = request;
  w->random = (uint64_t)request->order * 0x9e3779b97f4a7c15ull;
  give_stacks(w, stacks_needed(request));
  sigjmp_buf here;
  if (sigsetjmp(here, 1)) {  // a failure: all fibers are abandoned where they are
    worker->free_count = worker->used_count = 0;
    return;
  }
  w->escape = &here;
  if (request->checked) {
    check::run_checked(request);
  } else if (only >= 0) {
    prepare_block(w, run, (uint64_t)only);
    enter_block(w, run);
  } else {
    while (!failed) {
      uint64_t i = __atomic_fetch_add(&next_block, 1, __ATOMIC_RELAXED);
      if (i >= total_blocks) break;
      prepare_block(w, run, i);
      enter_block(w, run);
    }
  }
  w->escape = nullptr;
}

// ---- the pool: one helper pinned to each CPU, because some virtual machines pack threads onto few
// -------------------

struct Helper {
  const Request* job;
  pthread_mutex_t mutex;
  pthread_cond_t wake;
  int cpu;
  char padding[64];
};
static Helper* helpers;
static int helper_count;
static pid_t pool_process;

static void* helper_main(void* argument) {
  Helper* h = (Helper*)argument;
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(h->cpu, &cpus);
  pthread_setaffinity_np(pthread_self(), sizeof cpus, &cpus);
  for (;;) {
    for (int i = 0; i < 4000 && !__atomic_load_n(&h->job, __ATOMIC_ACQUIRE); i++) relax();
    pthread_mutex_lock(&h->mutex);
    while (!h->job) pthread_cond_wait(&h->wake, &h->mutex);
    const Request* job = h->job;
    pthread_mutex_unlock(&h->mutex);
    work(job, -1);
    __atomic_store_n(&h->job, (const Request*)nullptr, __ATOMIC_RELEASE);
  }
  return nullptr;
}

static pthread_t start_thread(void* (*main)(void*),
                              void* argument) {  // which leaves signals to the caller's threads
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread = 0;
  if (pthread_create(&thread, nullptr, main, argument) != 0) thread = 0;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

static void make_pool() {
  pool_process = getpid();
  cpu_set_t cpus;
  sched_getaffinity(0, sizeof cpus, &cpus);
  helpers = (Helper*)calloc(CPU_COUNT(&cpus), sizeof *helpers);
  helper_count = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    if (!CPU_ISSET(cpu, &cpus)) continue;
    Helper* h = &helpers[helper_count];
    h->cpu = cpu;
    pthread_mutex_init(&h->mutex, nullptr);
    pthread_cond_init(&h->wake, nullptr);
    pthread_t thread = start_thread(helper_main, h);
    if (!thread) break;
    pthread_detach(thread);
    helper_count++;
  }
}

static void work_with_pool(const Request* request) {
  if (pool_process != getpid()) make_pool();
  int here = sched_getcpu(), used = 1;
  cpu_set_t before, one;
  sched_getaffinity(0, sizeof before, &before);
  CPU_ZERO(&one);
  CPU_SET(here, &one);
  sched_setaffinity(0, sizeof one, &one);
  for (int i = 0; i < helper_count && used < request->workers; i++) {
    if (helpers[i].cpu == here) continue;
    used++;
    pthread_mutex_lock(&helpers[i].mutex);
    helpers[i].job = request;
    pthread_cond_signal(&helpers[i].wake);
    pthread_mutex_unlock(&helpers[i].mutex);
  }
  work(request, -1);
  for (int i = 0; i < helper_count; i++) {
    while (__atomic_load_n(&helpers[i].job, __ATOMIC_ACQUIRE)) relax();
  }
  sched_setaffinity(0, sizeof before, &before);
}

// ---- cooperative launches: all blocks at the same time, an OS thread for each
// ---------------------------------------

static pthread_mutex_t grid_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t grid_wake = PTHREAD_COND_INITIALIZER;
static uint64_t grid_waiting, grid_generation, grid_ended;

static void nobody_left_to_wait_for() {  // a block that has ended never arrives
  record_failure(barrier_divergence, emu_thread ? emu_thread->line : 0,
                 "grid.sync() waits for blocks that have ended without reaching it");
  pthread_cond_broadcast(&grid_wake);
}

void grid_barrier_of_workers(Worker* w) {
  if ((uint32_t)emu_block.live != w->request->block[0] * w->request->block[1] * w->request->block[2]) {
    fail(barrier_divergence, emu_thread->line, "grid.sync() after some threads of the block have ended");
  }
  sigjmp_buf* target = w->escape;
  w->escape = nullptr;  // holds a lock: nothing may jump out of here
  pthread_mutex_lock(&grid_mutex);
  uint64_t generation = grid_generation;
  bool in_vain = ++grid_waiting + grid_ended == total_blocks && grid_ended > 0;
  if (in_vain) {
    nobody_left_to_wait_for();
  } else if (grid_waiting == total_blocks) {
    grid_waiting = 0;
    grid_generation++;
    pthread_cond_broadcast(&grid_wake);
  } else {
    while (generation == grid_generation && !failed) pthread_cond_wait(&grid_wake, &grid_mutex);
  }
  pthread_mutex_unlock(&grid_mutex);
  w->escape = target;
  if (failed) fail(barrier_divergence, emu_thread->line, "another block failed");  // recorded already
}

void wake_grid_barrier() { pthread_cond_broadcast(&grid_wake); }

struct CooperativeBlock {
  const Request* request;
  int64_t block;
};
static void* cooperative_main(void* argument) {
  CooperativeBlock* mine = (CooperativeBlock*)argument;
  work(mine->request, mine->block);
  pthread_mutex_lock(&grid_mutex);
  if (++grid_ended + grid_waiting == total_blocks && grid_waiting > 0) nobody_left_to_wait_for();
  pthread_mutex_unlock(&grid_mutex);
  end_worker(worker);
  return nullptr;
}

static void work_cooperatively(const Request* request) {
  pthread_t* threads = (pthread_t*)calloc(total_blocks, sizeof *threads);
  CooperativeBlock* blocks = (CooperativeBlock*)calloc(total_blocks, sizeof *blocks);
  grid_waiting = grid_ended = 0;
  for (uint64_t i = 0; i < total_blocks; i++) {
    blocks[i] = {request, (int64_t)i};
    threads[i] = start_thread(cooperative_main, &blocks[i]);
  }
  for (uint64_t i = 0; i < total_blocks; i++) {
    if (threads[i]) pthread_join(threads[i], nullptr);
  }
  free(threads);
  free(blocks);
}

}  // namespace emu

using namespace emu;

// Runs one launch to its end. Returns 0, or 1 with the reason in `emu_failure()`.
extern "C" EMU_API int emu_launch(const Request* request) {
  pthread_mutex_lock(&launch_mutex);
  launch_begins(request);
  next_block = 0;
  total_blocks = (uint64_t)request->grid[0] * request->grid[1] * request->grid[2];
  uint64_t threads = total_blocks * request->block[0] * request->block[1] * request->block[2];
  if (request->checked) {
    work(request, -1);
  } else if (request->cooperative) {
    work_cooperatively(request);
  } else if (request->workers > 1 && total_blocks > 1 && threads > 256) {
    work_with_pool(request);
  } else {
    work(request, -1);
  }
  launch_ends();
  fflush(stdout);
  int result = failed;
  pthread_mutex_unlock(&launch_mutex);
  return result;
}
