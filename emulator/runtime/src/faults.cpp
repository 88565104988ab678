// What can go wrong while a kernel runs, and how the process outlives it: a failure leaves every fiber where
// it is and jumps back to the launch. Faults arrive as signals; a kernel that runs too long is stopped by a
// watchdog thread.
#include "runtime.h"

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

namespace emu {

volatile int failed;
static Failure failure;
static char printed[1024];

// ---- recording the first failure
// -----------------------------------------------------------------------------------

static void note_thread() {  // who was running
  uint3 b = emu_block.index, t = emu_thread->index;
  failure.block[0] = b.x, failure.block[1] = b.y, failure.block[2] = b.z;
  failure.thread[0] = t.x, failure.thread[1] = t.y, failure.thread[2] = t.z;
}

// Keeps the first failure of a launch; later ones follow from it.
static void record(FailureKind kind, int line, uint64_t pc, const char* format, va_list values) {
  if (__atomic_exchange_n(&failed, 1, __ATOMIC_SEQ_CST)) return;
  failure.kind = kind;
  failure.line = line;
  failure.pc = pc;
  if (worker && worker->escape && emu_thread) note_thread();
  vsnprintf(failure.message, sizeof failure.message, format, values);
}

void record_failure(FailureKind kind, int line, const char* format, ...) {
  va_list values;
  va_start(values, format);
  record(kind, line, 0, format, values);
  va_end(values);
}

static void record_at(FailureKind kind, uint64_t pc, const char* format, ...) {
  va_list values;
  va_start(values, format);
  record(kind, 0, pc, format, values);
  va_end(values);
}

[[noreturn]] static void escape() {
  sigjmp_buf* target = worker->escape;
  worker->escape = nullptr;
  siglongjmp(*target, 1);
}

void fail(FailureKind kind, int line, const char* format, ...) {
  va_list values;
  va_start(values, format);
  record(kind, line, 0, format, values);
  va_end(values);
  wake_grid_barrier();
  escape();
}

extern "C" EMU_API void emu_trap(const char* what, int line) { fail(trap, line, "%s", what); }

extern "C" EMU_API const Failure* emu_failure() {
  if (failure.pc) {
    Dl_info info;
    failure.module_base = dladdr((void*)failure.pc, &info) ? (uint64_t)info.dli_fbase : 0;
  }
  return &failure;
}

// ---- signals
// ---------------------------------------------------------------------------------------------------------

static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
static struct sigaction previous[4];
static int stop_signal() { return SIGRTMIN + 5; }

static uint64_t program_counter(void* context) {
#if defined(__x86_64__)
  return (uint64_t)((ucontext_t*)context)->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
  return (uint64_t)((ucontext_t*)context)->uc_mcontext.pc;
#else
  return 0;
#endif
}

static void on_fault(int signal_number, siginfo_t* info, void* context) {
  if (!worker || !worker->escape) {  // not ours: as if we had never been here
    for (int i = 0; i < 4; i++) {
      if (faults[i] == signal_number) sigaction(signal_number, &previous[i], nullptr);
    }
    return;
  }
  char* address = (char*)info->si_addr;
  size_t stacks = worker->stack_count * (stack_bytes + guard_bytes);
  uint64_t pc = program_counter(context);
  if (signal_number == SIGFPE) {
    record_at(arithmetic_fault, pc, "an integer was divided by zero");
  } else if (signal_number == SIGILL) {
    record_at(illegal_instruction, pc, "illegal instruction");
  } else if (address >= worker->stacks && address < worker->stacks + stacks) {
    record_at(stack_overflow, pc, "a thread's local variables and calls need more than %d KiB", stack_bytes / 1024);
  } else {
    record_at(memory_fault, pc, "access to address %p, which belongs to no array", (void*)address);
  }
  wake_grid_barrier();
  escape();
}

static void on_stop(int, siginfo_t*, void* context) {  // the watchdog has recorded why
  if (!failed || !worker || !worker->escape) return;
  if (failure.kind == timeout && !failure.pc) {
    failure.pc = program_counter(context);
    if (emu_thread) note_thread();
  }
  escape();
}

void unblock_fault_signals() {  // a jump out of a handler leaves its signal blocked only if nobody restores
                                // the mask
  sigset_t set;
  sigemptyset(&set);
  for (int s : faults) sigaddset(&set, s);
  sigaddset(&set, stop_signal());
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

// ---- the watchdog
// ------------------------------------------------------------------------------------------------------

static pthread_mutex_t watch_mutex = PTHREAD_MUTEX_INITIALIZER;
static Worker* workers[max_threads + 64];
static int worker_count;
static volatile int launching;  // a launch is in progress
static double deadline, interruptible_from;
static struct sigaction previous_interrupt;
static bool watching_interrupt;
static pid_t watchdog_process;

static double now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

void register_worker(Worker* w) {
  pthread_mutex_lock(&watch_mutex);
  w->os_thread = pthread_self();
  if (worker_count < (int)(sizeof workers / sizeof *workers)) workers[worker_count++] = w;
  pthread_mutex_unlock(&watch_mutex);
}

void forget_worker(Worker* w) {
  pthread_mutex_lock(&watch_mutex);
  for (int i = 0; i < worker_count; i++) {
    if (workers[i] == w) workers[i] = workers[--worker_count];
  }
  pthread_mutex_unlock(&watch_mutex);
}

static void stop_all_workers() {
  for (int i = 0; i < worker_count; i++) {
    if (workers[i]->escape) pthread_kill(workers[i]->os_thread, stop_signal());
  }
}

// Ctrl-C during a long launch: tell the workers to stop, and let the caller's own handler know too.
static void on_interrupt(int signal_number) {
  if (!(previous_interrupt.sa_flags & SA_SIGINFO) && previous_interrupt.sa_handler != SIG_DFL &&
      previous_interrupt.sa_handler != SIG_IGN) {
    previous_interrupt.sa_handler(signal_number);
  }
  record_failure(interrupted, 0, "interrupted");
}

static void* watchdog(void*) {
  for (;;) {
    usleep(20000);
    if (!launching) continue;
    pthread_mutex_lock(&watch_mutex);
    double time = now();
    if (launching && !watching_interrupt && time > interruptible_from) {
      struct sigaction action = {};
      action.sa_handler = on_interrupt;
      sigaction(SIGINT, &action, &previous_interrupt);
      watching_interrupt = true;
    }
    if (launching && !failed && deadline > 0 && time > deadline)
      record_failure(timeout, 0, "still running at the time limit");
    if (launching && failed) {
      stop_all_workers();
      wake_grid_barrier();
    }
    pthread_mutex_unlock(&watch_mutex);
  }
  return nullptr;
}

static void install() {  // once in each process: threads do not survive a fork
  watchdog_process = getpid();
  worker_count = 0;
  pthread_mutex_init(&watch_mutex, nullptr);
  struct sigaction action = {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  for (int i = 0; i < 4; i++) {
    struct sigaction old;
    sigaction(faults[i], &action, &old);
    if (!(old.sa_flags & SA_SIGINFO) || old.sa_sigaction != on_fault) previous[i] = old;
  }
  action.sa_sigaction = on_stop;
  sigaction(stop_signal(), &action, nullptr);
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  pthread_create(&thread, nullptr, watchdog, nullptr);
  pthread_detach(thread);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void launch_begins(const Request* request) {
  if (watchdog_process != getpid()) install();
  memset(&failure, 0, offsetof(Failure, message) + 1);
  failed = 0;
  double time = now();
  deadline = request->time_limit_s > 0 ? time + request->time_limit_s : 0;
  interruptible_from = time + 0.1;
  __atomic_store_n(&launching, 1, __ATOMIC_RELEASE);
}

void launch_ends() {
  __atomic_store_n(&launching, 0, __ATOMIC_RELEASE);
  if (!watching_interrupt) return;
  pthread_mutex_lock(&watch_mutex);
  if (watching_interrupt) sigaction(SIGINT, &previous_interrupt, nullptr);
  watching_interrupt = false;
  pthread_mutex_unlock(&watch_mutex);
}

// ---- printf
// ------------------------------------------------------------------------------------------------------------

extern "C" EMU_API int emu_printf(const char* format, ...) {
  sigjmp_buf* target = worker->escape;
  worker->escape = nullptr;  // stdio holds a lock: nothing may jump out of it
  static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_mutex_lock(&mutex);
  va_list values;
  va_start(values, format);
  int length = vsnprintf(printed, sizeof printed, format, values);
  va_end(values);
  fputs(printed, stdout);
  pthread_mutex_unlock(&mutex);
  worker->escape = target;
  return length;
}

}  // namespace emu
