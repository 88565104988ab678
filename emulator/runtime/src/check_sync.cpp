// What orders two accesses: barriers, __syncwarp, the grid barrier, and atomics behind a fence. (A vector clock a warp,
// an interval number a block: FastTrack's idea, Flanagan and Freund, PLDI 2009, cut down to what CUDA has.)
#include "check.h"

namespace emu {
namespace check {

void Knowledge::join(const Knowledge& other) {
  for (auto& [block, interval] : other.blocks) {
    uint32_t& mine = blocks[block];
    if (interval > mine) mine = interval;
  }
  for (auto& [thread, time] : other.threads) {
    auto& mine = threads[thread];
    if (time > mine) mine = time;
  }
}

void new_interval() {
  state.intervals.push_back({state.block->linear, state.phase});
  state.block->interval = (uint32_t)state.intervals.size() - 1;
}

void start_block(BlockRun* run, BlockState* block) {
  const uint3 index = run->view.index, grid = run->view.grid;
  block->linear = ((uint64_t)index.z * grid.y + index.y) * grid.x + index.x;
  state.block = block;
  new_interval();
  block->first_interval = block->interval;
  memset(block->clock, 0, sizeof block->clock);
  memset(block->known, 0, sizeof block->known[0] * run->warps);
  memset(block->fence_interval, 0, sizeof block->fence_interval);
  memset(block->fence_clock, 0, sizeof block->fence_clock);
  if (block->any_knowledge) {
    for (Known& k : block->knowledge) k.reset();
  }
  block->any_knowledge = false;
}

bool came_before(const Touch& touch, const Thread* t, int space) {
  const BlockState* block = state.block;
  const Interval& then = state.intervals[touch.interval];
  if (then.block == block->linear) {
    if (touch.interval != block->interval) return true;  // a barrier lies between
    if (touch.thread == t->linear) return true;
    if ((touch.thread >> 5) == (t->linear >> 5) &&
        touch.clock < block->known[t->linear >> 5][t->linear & 31][touch.thread & 31]) {
      return true;  // a __syncwarp lies between
    }
  } else if (space == 1 || then.phase < state.phase) {
    return true;  // another block's shared memory, or a grid barrier lies between
  }
  const Known& known = block->knowledge[t->linear];
  if (!known) return false;
  auto of_block = known->blocks.find(then.block);
  if (of_block != known->blocks.end() && touch.interval < of_block->second) return true;
  auto of_thread = known->threads.find({then.block, touch.thread});
  return of_thread != known->threads.end() && std::make_pair(touch.interval, touch.clock) < of_thread->second;
}

// ---- fences and atomics
// -----------------------------------------------------------------------------------------------

void on_fence(BlockRun*, Thread* t) {
  BlockState* block = state.block;
  block->fence_interval[t->linear] = block->interval;
  block->fence_clock[t->linear] = ++block->clock[t->linear];
}

// Whoever acquires here later knows what this thread's last fence covers: its own accesses, and by way of barriers
// those of its block.
void release(uintptr_t address, Thread* t) {
  BlockState* block = state.block;
  uint32_t interval = block->fence_interval[t->linear];
  if (interval == 0) return;
  auto knowledge = std::make_shared<Knowledge>();
  Known& there = state.released[address];
  if (there) knowledge->join(*there);
  if (block->knowledge[t->linear]) knowledge->join(*block->knowledge[t->linear]);
  Knowledge mine;
  mine.blocks[block->linear] = interval;
  mine.threads[{block->linear, t->linear}] = {interval, block->fence_clock[t->linear]};
  knowledge->join(mine);
  there = knowledge;
}

static void learn(BlockState* block, unsigned thread, const Known& more) {
  Known& mine = block->knowledge[thread];
  if (mine == more) return;
  if (!mine) {
    mine = more;
  } else {
    auto joined = std::make_shared<Knowledge>(*mine);
    joined->join(*more);
    mine = joined;
  }
  block->any_knowledge = true;
}

void acquire(uintptr_t address, Thread* t) {
  auto found = state.released.find(address);
  if (found != state.released.end()) learn(state.block, t->linear, found->second);
}

// ---- barriers and collectives
// -----------------------------------------------------------------------------------------

[[noreturn]] static void stop(const Finding& finding) {
  report(finding);
  fail(check_finding, 0, "stopped by the checker");
}

void on_barrier_arrival(BlockRun* run, Thread* t, int line) {
  if (emu_block.waiting == 0) return;
  Thread* first = &run->thread[run->barrier_thread];
  if (run->barrier_line != line) {
    Finding f = new_finding(barrier_divergence_found, t, t->pc);
    f.line[0] = line;
    f.line[1] = run->barrier_line;
    f.pc[1] = relative_pc(first->pc);
    memcpy(f.block[1], f.block[0], sizeof f.block[0]);
    f.thread[1][0] = first->index.x, f.thread[1][1] = first->index.y, f.thread[1][2] = first->index.z;
    snprintf(f.detail, sizeof f.detail, "threads of the block wait at different barriers");
    stop(f);
  }
}

void on_barrier(BlockRun* run) {
  state.barriers++;
  state.spins = 0;
  if (emu_block.live < run->threads) {
    Thread* ended = nullptr;
    for (int i = 0; i < run->threads && !ended; i++) {
      Thread* t = &run->thread[i];
      if (!(t->warp->live >> (t->linear & 31) & 1)) ended = t;
    }
    Thread* first = &run->thread[run->barrier_thread];
    Finding f = new_finding(barrier_divergence_found, first, first->pc);
    f.line[0] = run->barrier_line;
    memcpy(f.block[1], f.block[0], sizeof f.block[0]);
    if (ended) f.thread[1][0] = ended->index.x, f.thread[1][1] = ended->index.y, f.thread[1][2] = ended->index.z;
    snprintf(f.detail, sizeof f.detail, "%d of %d threads ended without reaching it", run->threads - emu_block.live,
             run->threads);
    stop(f);
  }
  if (state.check.costs) {
    for (int i = 0; i < run->warps; i++) flush_costs(run, i);
  }
  BlockState* block = state.block;
  if (block->any_knowledge) {
    auto all = std::make_shared<Knowledge>();
    for (int i = 0; i < run->threads; i++) {
      if (block->knowledge[i]) all->join(*block->knowledge[i]);
    }
    for (int i = 0; i < run->threads; i++) block->knowledge[i] = all;
  }
  new_interval();
}

static bool exists(const BlockRun* run, const Warp* warp, int lane) {
  return (warp - run->warp) * 32 + lane < run->threads;
}

void on_collective_arrival(BlockRun* run, Thread* t, unsigned mask) {
  Warp* warp = t->warp;
  unsigned gone = mask & ~warp->live;
  for (; gone; gone &= gone - 1) {
    int lane = __builtin_ctz(gone);
    if (!exists(run, warp, lane)) continue;  // a block of 48 threads: nobody is there to wait for
    Finding f = new_finding(collective_divergence_found, t, t->pc);
    f.line[0] = t->line;
    snprintf(f.detail, sizeof f.detail, "%s with mask 0x%08x names lane %d, which has ended",
             operation_name(t->operation), mask, lane);
    stop(f);
  }
}

void on_collective(BlockRun* run, Warp* warp, unsigned members, int operation) {
  state.collectives++;
  int first = __builtin_ctz(members);
  Thread* threads = &run->thread[(warp - run->warp) * 32];
  for (unsigned rest = members; rest; rest &= rest - 1) {
    int lane = __builtin_ctz(rest);
    Thread *a = &threads[first], *b = &threads[lane];
    bool same = a->operation == b->operation && warp->mask[first] == warp->mask[lane];
    int source = warp->source[lane] & 31;
    bool reads_nobody = operation == op_shuffle && !(members >> source & 1);
    if (same && !reads_nobody) continue;
    Finding f = new_finding(collective_divergence_found, b, b->pc);
    f.line[0] = b->line;
    if (same) {
      snprintf(f.detail, sizeof f.detail, "lane %d reads the value of lane %d, which takes no part in the shuffle",
               lane, source);
    } else {
      f.line[1] = a->line;
      f.pc[1] = relative_pc(a->pc);
      memcpy(f.block[1], f.block[0], sizeof f.block[0]);
      f.thread[1][0] = a->index.x, f.thread[1][1] = a->index.y, f.thread[1][2] = a->index.z;
      snprintf(f.detail, sizeof f.detail, "lanes %d and %d meet in %s with mask 0x%08x and %s with mask 0x%08x", lane,
               first, operation_name(b->operation), warp->mask[lane], operation_name(a->operation), warp->mask[first]);
    }
    stop(f);
  }
  if (state.check.costs && members == warp->live) flush_costs(run, (int)(warp - run->warp));
  if (operation != op_syncwarp) return;  // shuffles and votes exchange registers; they order no memory
  BlockState* block = state.block;
  auto& known = block->known[warp - run->warp];
  unsigned base = (unsigned)(warp - run->warp) * 32;
  uint32_t newest[32] = {};
  Known knowledge;
  for (unsigned rest = members; rest; rest &= rest - 1) {
    int lane = __builtin_ctz(rest);
    for (int i = 0; i < 32; i++) newest[i] = newest[i] > known[lane][i] ? newest[i] : known[lane][i];
  }
  for (unsigned rest = members; rest; rest &= rest - 1) {
    int lane = __builtin_ctz(rest);
    newest[lane] = ++block->clock[base + lane];
  }
  for (unsigned rest = members; rest; rest &= rest - 1) {
    int lane = __builtin_ctz(rest);
    memcpy(known[lane], newest, sizeof newest);
    if (!block->any_knowledge) continue;
    for (unsigned others = members; others; others &= others - 1) {
      const Known& k = block->knowledge[base + __builtin_ctz(others)];
      if (k) learn(block, base + lane, Known(k));
    }
  }
}

void on_thread_end(BlockRun* run, Thread* t) {
  Warp* warp = t->warp;
  int lane = (int)(t->linear & 31);
  for (unsigned rest = warp->arrived; rest; rest &= rest - 1) {
    int waiting = __builtin_ctz(rest);
    if (!(warp->mask[waiting] >> lane & 1)) continue;
    Thread* other = &run->thread[(warp - run->warp) * 32 + waiting];
    Finding f = new_finding(collective_divergence_found, other, other->pc);
    f.line[0] = other->line;
    snprintf(f.detail, sizeof f.detail, "%s with mask 0x%08x names lane %d, which ends without it",
             operation_name(other->operation), warp->mask[waiting], lane);
    stop(f);
  }
}

void on_spin(BlockRun* run, int line) {
  uint64_t patience = 4000ull * (uint64_t)(run->threads > 0 ? run->threads : 1);
  if (++state.spins < patience) return;
  Finding f = new_finding(deadlock_found, emu_thread, emu_thread->pc);
  f.line[0] = line;
  snprintf(
      f.detail, sizeof f.detail, "it polls memory that nobody changes any more%s",
      state.request->cooperative ? "" : "; blocks run in any order, and only a cooperative launch runs all at once");
  stop(f);
}

// ---- outputs
// ---------------------------------------------------------------------------------------------------------------

void unwritten_outputs() {
  for (auto& region : state.regions) {
    if (!(region->flags & expect_written)) continue;
    size_t missing = 0, first = 0;
    for (size_t i = 0; i < region->cells.size(); i++) {
      if (region->cells[i].write.interval) continue;
      if (missing++ == 0) first = i;
    }
    if (!missing) continue;
    Finding f = new_finding(uninitialised_output, nullptr, nullptr);
    f.space = 0;
    snprintf(f.name, sizeof f.name, "%s", region->name.c_str());
    f.offset = (int64_t)(first * region->grain);
    f.bytes = region->high - region->low;
    f.element = region->element;
    size_t elements = missing * region->grain / region->element;
    snprintf(f.detail, sizeof f.detail, "%zu of %zu elements were never written", elements ? elements : 1,
             (size_t)(f.bytes / f.element));
    report(f);
  }
}

}  // namespace check
}  // namespace emu
