// Every access of a checked kernel: is it inside an array, aligned, ordered after what it conflicts with, initialised?
#include "check.h"

#include <algorithm>
#include <numeric>

namespace emu {
namespace check {

State state;

uint32_t relative_pc(void* return_address) {  // of the call, not of what follows it
  uintptr_t pc = (uintptr_t)return_address - 1;
  return pc >= state.check.module_low && pc < state.check.module_high ? (uint32_t)(pc - state.check.module_low) : 0;
}

// ---- regions --------------------------------------------------------------------------------------------------------

void add_region(uintptr_t low, size_t bytes, int space, uint32_t element, uint32_t flags, const int* extents,
                const char* name) {
  auto region = std::make_unique<Region>();
  region->low = low;
  region->high = low + bytes;
  region->space = space;
  region->element = element ? element : 4;
  region->flags = flags;
  region->name = name;
  for (int i = 0; i < 8; i++) region->extents[i] = extents ? extents[i] : 0;
  // Cells as large as the elements, or the largest power of two that divides them: smaller accesses refine them.
  region->grain = std::min<uint32_t>(8, region->element & -region->element);
  region->cells.resize((bytes + region->grain - 1) / region->grain);
  state.regions.push_back(std::move(region));
  state.last_hit = nullptr;
}

Region* find_region(uintptr_t address, size_t bytes) {
  Region* hit = state.last_hit;
  if (hit && address >= hit->low && address + bytes <= hit->high) return hit;
  for (auto& region : state.regions) {
    if (address >= region->low && address + bytes <= region->high) return state.last_hit = region.get();
  }
  return nullptr;
}

static void refine(Region* region, uint32_t grain) {
  uint32_t parts = region->grain / grain;
  std::vector<Cell> finer;
  finer.reserve(region->cells.size() * parts);
  for (const Cell& cell : region->cells) finer.insert(finer.end(), parts, cell);
  region->cells.swap(finer);
  region->grain = grain;
}

// ---- findings
// ---------------------------------------------------------------------------------------------------------

Finding new_finding(FindingKind kind, Thread* t, void* pc) {
  Finding f = {};
  f.kind = kind;
  f.space = 2;
  f.pc[0] = pc ? relative_pc(pc) : 0;
  f.block[0][0] = emu_block.index.x, f.block[0][1] = emu_block.index.y, f.block[0][2] = emu_block.index.z;
  if (t) f.thread[0][0] = t->index.x, f.thread[0][1] = t->index.y, f.thread[0][2] = t->index.z;
  return f;
}

bool report(const Finding& finding) {
  for (const Finding& f : state.findings) {
    if (f.kind == finding.kind && f.pc[0] == finding.pc[0] && f.pc[1] == finding.pc[1] &&
        f.line[0] == finding.line[0] && !strcmp(f.name, finding.name)) {
      return false;
    }
  }
  if (state.findings.size() < 64) state.findings.push_back(finding);
  return true;
}

static void describe_place(Finding* f, const Region* region, uintptr_t address, size_t bytes) {
  f->space = region->space;
  snprintf(f->name, sizeof f->name, "%s", region->name.c_str());
  f->offset = (int64_t)(address - region->low);
  f->bytes = region->high - region->low;
  f->element = region->element;
  f->access = (uint32_t)bytes;
  memcpy(f->extents, region->extents, sizeof f->extents);
}

static void describe_other(Finding* f, const Touch& other, bool write) {
  uint64_t block = state.intervals[other.interval].block;
  const Request* r = state.request;
  f->pc[1] = other.pc;
  f->writes[1] = write;
  f->atomics[1] = other.atomic;
  f->block[1][0] = (uint32_t)(block % r->grid[0]);
  f->block[1][1] = (uint32_t)(block / r->grid[0] % r->grid[1]);
  f->block[1][2] = (uint32_t)(block / r->grid[0] / r->grid[1]);
  f->thread[1][0] = other.thread % r->block[0];
  f->thread[1][1] = other.thread / r->block[0] % r->block[1];
  f->thread[1][2] = other.thread / r->block[0] / r->block[1];
}

[[noreturn]] static void report_and_stop(const Finding& f) {
  report(f);
  fail(check_finding, 0, "stopped by the checker");
}

[[noreturn]] static void report_out_of_bounds(uintptr_t address, size_t bytes, bool write, Thread* t, void* pc) {
  Finding f = new_finding(out_of_bounds, t, pc);
  f.writes[0] = write;
  f.access = (uint32_t)bytes;
  f.offset = (int64_t)address;
  uintptr_t nearest = 1 << 20;
  for (auto& region : state.regions) {
    bool after = address + bytes > region->high && address >= region->low;
    uintptr_t distance = after ? address + bytes - region->high : region->low - address;
    if (distance < nearest) {
      nearest = distance;
      describe_place(&f, region.get(), address, bytes);
    }
  }
  report_and_stop(f);
}

// ---- one access
// -----------------------------------------------------------------------------------------------------------

struct Access {
  uintptr_t address;
  size_t bytes;
  bool write, atomic, is_volatile, aligned;
};

static inline bool may_overlap(const Touch& before, const Access& now, int space) {
  if (before.atomic && now.atomic) return true;
  // A volatile flag in global memory is how blocks wait for each other; in shared memory it orders nothing.
  return space == 0 && (before.is_volatile || before.atomic) && (now.is_volatile || now.atomic);
}

static inline bool conflicts(const Touch& before, const Access& now, const Thread* t, int space) {
  if (before.interval == 0) return false;
  if (__builtin_expect(before.interval == state.block->interval && before.thread == t->linear, 1)) return false;
  return !came_before(before, t, space) && !may_overlap(before, now, space);
}

static void report_race(Region* region, uintptr_t place, const Access& now, const Touch& before, bool before_wrote,
                        Thread* t, void* pc) {
  Finding f = new_finding(data_race, t, pc);
  describe_place(&f, region, place, now.bytes);
  f.writes[0] = now.write;
  f.atomics[0] = now.atomic;
  describe_other(&f, before, before_wrote);
  if (state.intervals[before.interval].block == state.block->linear && before.thread >> 5 == t->linear >> 5) {
    snprintf(f.detail, sizeof f.detail, "lanes of one warp");
  }
  report(f);
}

static void access(const Access& now, void* pc) {
  Thread* t = emu_thread;
  Worker* w = worker;
  if (!w || !w->escape) return;
  Region* region = find_region(now.address, now.bytes);
  if (!region) {
    uintptr_t stacks = (uintptr_t)w->stacks, stacks_end = stacks + w->stack_count * (stack_bytes + guard_bytes);
    if (now.address >= stacks && now.address < stacks_end) return;  // the thread's own local memory
    bool in_module = now.address >= state.check.module_low && now.address < state.check.module_high;
    if (in_module) {  // a constant of the kernel, unless it is a red zone of shared memory
      bool red =
          state.check.dynamic_address && now.address - state.check.dynamic_address < EMU_DYNAMIC_SHARED_BYTES + 1024;
      for (auto& r : state.regions) {
        red = red || (r->space == 1 && now.address + now.bytes > r->low - 256 && now.address < r->high + 256);
      }
      if (!red) return;
    }
    report_out_of_bounds(now.address, now.bytes, now.write, t, pc);
  }
  if (now.aligned && (now.address & (now.bytes - 1))) {
    Finding f = new_finding(misaligned, t, pc);
    f.writes[0] = now.write;
    describe_place(&f, region, now.address, now.bytes);
    report_and_stop(f);
  }
  if (now.write && (region->flags & read_only)) {
    Finding f = new_finding(read_only_write, t, pc);
    f.writes[0] = true;
    describe_place(&f, region, now.address, now.bytes);
    report_and_stop(f);
  }
  uint32_t where = relative_pc(pc);
  if (state.check.costs) count_access(now.address, now.bytes, now.write, region->space == 1, where, t);
  if (now.write && !now.atomic) state.spins = 0;

  uintptr_t offset = now.address - region->low;
  uint32_t needed = (uint32_t)std::gcd(std::gcd(offset, now.bytes), (uintptr_t)region->grain);
  if (__builtin_expect(needed < region->grain, 0)) refine(region, needed);
  BlockState* block = state.block;
  Touch mine = {block->interval, block->clock[t->linear], where, (uint16_t)t->linear, now.atomic, now.is_volatile};
  size_t first = offset / region->grain, last = (offset + now.bytes - 1) / region->grain;
  for (size_t i = first; i <= last; i++) {
    Cell& cell = region->cells[i];
    uintptr_t place = region->low + i * region->grain;
    bool stale = region->space == 1 && cell.write.interval < block->first_interval;  // another block's
    if (stale && cell.write.interval) cell.write = Touch();
    if (region->space == 1) {
      if (cell.read.interval < block->first_interval) cell.read = Touch();
      if (cell.other_read.interval < block->first_interval) cell.other_read = Touch();
    }
    if (conflicts(cell.write, now, t, region->space)) report_race(region, place, now, cell.write, true, t, pc);
    if (now.write) {
      if (conflicts(cell.read, now, t, region->space)) report_race(region, place, now, cell.read, false, t, pc);
      if (conflicts(cell.other_read, now, t, region->space))
        report_race(region, place, now, cell.other_read, false, t, pc);
    }
    if (!now.write || now.atomic) {
      bool never_written = cell.write.interval == 0;
      if (never_written && region->space == 1) {
        Finding f = new_finding(uninitialised_shared_read, t, pc);
        describe_place(&f, region, place, now.bytes);
        report(f);
      } else if (never_written && (region->flags & expect_written) && !now.write) {
        Finding f = new_finding(uninitialised_output, t, pc);
        describe_place(&f, region, place, now.bytes);
        snprintf(f.detail, sizeof f.detail, "read before anything wrote it");
        report(f);
      }
    }
    if (now.write) {
      cell.write = mine;
    } else if (cell.read.interval != mine.interval || cell.read.thread == mine.thread) {
      cell.read = mine;
    } else if (cell.other_read.interval != mine.interval || (cell.other_read.thread >> 5) == (cell.read.thread >> 5)) {
      cell.other_read = mine;  // from another warp where there is one: no one writer is ordered after both by luck
    }
  }
}

}  // namespace check
}  // namespace emu

using namespace emu;
using namespace emu::check;

// ---- what instrumented code calls
// -----------------------------------------------------------------------------------------

#define EMU_HERE __builtin_return_address(0)
#define EMU_HOOK(BYTES)                                                                                                \
  extern "C" EMU_API void __tsan_read##BYTES(uintptr_t a) { access({a, BYTES, false, false, false, true}, EMU_HERE); } \
  extern "C" EMU_API void __tsan_write##BYTES(uintptr_t a) { access({a, BYTES, true, false, false, true}, EMU_HERE); } \
  extern "C" EMU_API void __tsan_read_write##BYTES(uintptr_t a) {                                                      \
    access({a, BYTES, false, false, false, true}, EMU_HERE);                                                           \
    access({a, BYTES, true, false, false, true}, EMU_HERE);                                                            \
  }                                                                                                                    \
  extern "C" EMU_API void __tsan_unaligned_read##BYTES(uintptr_t a) {                                                  \
    access({a, BYTES, false, false, false, false}, EMU_HERE);                                                          \
  }                                                                                                                    \
  extern "C" EMU_API void __tsan_unaligned_write##BYTES(uintptr_t a) {                                                 \
    access({a, BYTES, true, false, false, false}, EMU_HERE);                                                           \
  }                                                                                                                    \
  extern "C" EMU_API void __tsan_volatile_write##BYTES(uintptr_t a) { write_volatile(a, BYTES, EMU_HERE); }            \
  extern "C" EMU_API void __tsan_volatile_read##BYTES(uintptr_t a) { read_volatile(a, BYTES, EMU_HERE); }              \
  extern "C" EMU_API void __tsan_unaligned_volatile_write##BYTES(uintptr_t a) { write_volatile(a, BYTES, EMU_HERE); }  \
  extern "C" EMU_API void __tsan_unaligned_volatile_read##BYTES(uintptr_t a) { read_volatile(a, BYTES, EMU_HERE); }

static void write_volatile(uintptr_t a, size_t bytes, void* pc) {
  release(a, emu_thread);
  access({a, bytes, true, false, true, true}, pc);
}
static void read_volatile(uintptr_t a, size_t bytes, void* pc) {
  access({a, bytes, false, false, true, true}, pc);
  emu_thread->pc = pc;
  emu_yield(0);  // whoever polls must let the others change what it polls
  acquire(a, emu_thread);
}
// clang-format off
EMU_HOOK(1) EMU_HOOK(2) EMU_HOOK(4) EMU_HOOK(8) EMU_HOOK(16)
    // clang-format on

    extern "C" EMU_API void __tsan_read_range(uintptr_t a, size_t n) {
  if (n) access({a, n, false, false, false, false}, EMU_HERE);
}
extern "C" EMU_API void __tsan_write_range(uintptr_t a, size_t n) {
  if (n) access({a, n, true, false, false, false}, EMU_HERE);
}
extern "C" EMU_API void* __tsan_memcpy(void* to, const void* from, size_t n) {  // what clang calls
  if (n) access({(uintptr_t)from, n, false, false, false, false}, EMU_HERE);
  if (n) access({(uintptr_t)to, n, true, false, false, false}, EMU_HERE);
  return memcpy(to, from, n);
}
extern "C" EMU_API void* __tsan_memmove(void* to, const void* from, size_t n) {
  if (n) access({(uintptr_t)from, n, false, false, false, false}, EMU_HERE);
  if (n) access({(uintptr_t)to, n, true, false, false, false}, EMU_HERE);
  return memmove(to, from, n);
}
extern "C" EMU_API void* __tsan_memset(void* to, int value, size_t n) {
  if (n) access({(uintptr_t)to, n, true, false, false, false}, EMU_HERE);
  return memset(to, value, n);
}
extern "C" EMU_API void __tsan_init() {}
extern "C" EMU_API void __tsan_func_entry(void*) {}
extern "C" EMU_API void __tsan_func_exit() {}
extern "C" EMU_API void __tsan_vptr_read(void**) {}
extern "C" EMU_API void __tsan_vptr_update(void**, void*) {}

extern "C" EMU_API void emu_check_atomic(void* address, int bytes, void* pc) {
  static uint32_t count;
  static uintptr_t last_address;
  static uint64_t last_value;
  emu_thread->pc = pc;
  if ((++count & 15) == 0) emu_yield(0);  // a loop may poll with an atomic
  acquire((uintptr_t)address, emu_thread);
  release((uintptr_t)address, emu_thread);
  access({(uintptr_t)address, (size_t)bytes, true, true, false, true}, pc);
  uint64_t value = 0;
  memcpy(&value, address, (size_t)bytes);
  if ((uintptr_t)address != last_address || value != last_value) state.spins = 0;  // somebody gets on
  last_address = (uintptr_t)address, last_value = value;
}

// ---- the undefined-behaviour sanitizer's calls: an index past its own dimension, a vector at an odd address
// --------------

struct SourceLocation {
  const char* file;
  uint32_t line, column;
};
struct TypeDescriptor {
  uint16_t kind, info;
  char name[1];
};
struct IndexCheck {
  SourceLocation place;
  const TypeDescriptor *array, *index;
};
struct AlignmentCheck {
  SourceLocation place;
  const TypeDescriptor* type;
  unsigned char log_alignment, access;
};

extern "C" EMU_API void __ubsan_handle_out_of_bounds(IndexCheck* check, uintptr_t index) {
  if (!worker || !worker->escape) return;
  Finding f = new_finding(out_of_bounds, emu_thread, EMU_HERE);
  f.line[0] = (int32_t)check->place.line;
  f.offset = (int64_t)index;
  f.extents[0] = (int32_t)check->place.column;
  snprintf(f.detail, sizeof f.detail, "%s", check->array->name);
  report_and_stop(f);
}
extern "C" EMU_API void __ubsan_handle_type_mismatch_v1(AlignmentCheck* check, uintptr_t address) {
  if (!worker || !worker->escape || (address & ((1ul << check->log_alignment) - 1)) == 0) return;
  Finding f = new_finding(misaligned, emu_thread, EMU_HERE);
  f.line[0] = (int32_t)check->place.line;
  f.writes[0] = check->access == 1;
  if (Region* region = find_region(address, 1)) describe_place(&f, region, address, 1ul << check->log_alignment);
  report_and_stop(f);
}

extern "C" EMU_API void emu_check_shared(void* address, size_t bytes, size_t element, const int* extents,
                                         const char* name) {
  for (size_t i = state.global_regions; i < state.regions.size(); i++) {
    if (state.regions[i]->low == (uintptr_t)address) return;
  }
  if (worker && worker->escape) add_region((uintptr_t)address, bytes, 1, (uint32_t)element, 0, extents, name);
}
