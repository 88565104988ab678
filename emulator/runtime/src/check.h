// The checker's state, and what the scheduler tells it. Only launches with `Request::checked` come here.
//
// A checked kernel is compiled with -fsanitize=thread but linked against check_access.cpp instead of the sanitizer's
// own library, so every access to memory calls us first. All blocks run on one OS thread, one after another; the blocks
// of a cooperative launch take turns at grid barriers.
#pragma once
#include "runtime.h"

#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace emu {
namespace check {

// ---- what a caller gives and gets: the same layouts in emulator/check.py --------------------------------------------

enum ArrayFlags { read_only = 1, expect_written = 2 };

struct ArrayRequest {  // a host array, copied to where the kernel sees it
  uint64_t address, bytes;
  uint32_t element, flags;
  char name[64];
};

struct CheckRequest {
  const ArrayRequest* arrays;
  uint64_t array_count;
  uint64_t module_low, module_high;         // where the kernel's own constants and variables lie
  uint64_t dynamic_address, dynamic_bytes;  // dynamic shared memory; address 0 where the kernel has none
  uint32_t dynamic_element, costs;
  char dynamic_name[64];
};

enum FindingKind {
  barrier_divergence_found,
  collective_divergence_found,
  deadlock_found,
  data_race,
  out_of_bounds,
  misaligned,
  read_only_write,
  uninitialised_shared_read,
  uninitialised_output,
};

struct Finding {
  int32_t kind, space;       // space: 0 global, 1 shared, 2 local or not known
  char name[64];             // of the array
  int64_t offset;            // bytes from its start; may lie before it or after its end
  uint64_t bytes;            // of the whole array
  uint32_t element, access;  // bytes of an element, and of the access
  int32_t extents[8];
  int32_t writes[2], atomics[2];  // what this access and the other one did
  uint64_t pc[2];                 // relative to the module; 0 where there is none
  int32_t line[2];                // where the line is known without the pc
  uint32_t block[2][3], thread[2][3];
  char detail[256];
};

struct SiteCost {
  uint64_t pc;
  uint32_t shared, write, bytes, pad;
  uint64_t requests, transactions, ideal, lanes;
};

// ---- shadow memory
// ----------------------------------------------------------------------------------------------------

struct Touch {        // one access to a cell
  uint32_t interval;  // between which barriers of which block; 0 for none
  uint32_t clock;     // the lane's own time, see Block::known
  uint32_t pc;
  uint16_t thread;
  uint8_t atomic, is_volatile;
};
struct Cell {  // the smallest piece that accesses tell apart
  Touch write, read, other_read;
};

struct Region {
  uintptr_t low, high;
  int space;  // 0 global, 1 shared
  uint32_t element, flags, grain;
  int extents[8];
  std::string name;
  std::vector<Cell> cells;
  bool refined;

  Cell* cell_at(uintptr_t address) { return &cells[(address - low) / grain]; }
};

// What a thread knows of other blocks and threads through atomics: which of their accesses came before.
struct Knowledge {
  std::map<uint64_t, uint32_t> blocks;  // block → its intervals below this one
  std::map<std::pair<uint64_t, uint32_t>, std::pair<uint32_t, uint32_t>> threads;  // its interval and clock
  void join(const Knowledge& other);
};
typedef std::shared_ptr<const Knowledge> Known;

struct Interval {
  uint64_t block;
  uint32_t phase;  // grid barriers passed before it
};

struct BlockState {  // one for each resident block
  uint64_t linear;
  uint32_t interval, first_interval;
  uint32_t clock[max_threads];        // a lane's own time: grows at each __syncwarp and fence
  uint32_t known[max_warps][32][32];  // [warp][lane][other]: the other's accesses below this clock came before
  Known knowledge[max_threads];
  uint32_t fence_interval[max_threads], fence_clock[max_threads];  // 0: no fence yet
  bool any_knowledge;
};

struct State {
  const Request* request;
  CheckRequest check;
  std::vector<std::unique_ptr<Region>> regions;  // global ones first
  size_t global_regions;
  Region* last_hit;
  std::vector<Interval> intervals;
  std::unordered_map<uintptr_t, Known> released;  // by the address of the atomic
  std::vector<Finding> findings;
  BlockState* block;  // the one that runs
  uint32_t phase;
  uint64_t spins;
  uint64_t barriers, collectives;
};
extern State state;

// check_access.cpp
uint32_t relative_pc(void* return_address);
Region* find_region(uintptr_t address, size_t bytes);
void add_region(uintptr_t low, size_t bytes, int space, uint32_t element, uint32_t flags, const int* extents,
                const char* name);
bool report(const Finding& finding);  // false: the same was reported before
Finding new_finding(FindingKind kind, Thread* t, void* pc);

// check_sync.cpp
void start_block(BlockRun* run, BlockState* block);
void new_interval();
bool came_before(const Touch& touch, const Thread* t, int space);
void release(uintptr_t address, Thread* t);
void acquire(uintptr_t address, Thread* t);
void unwritten_outputs();

// check_costs.cpp
void count_access(uintptr_t address, size_t bytes, bool write, bool shared, uint32_t pc, const Thread* t);
void flush_costs(const BlockRun* run, int warp);
void reset_costs();

// hooks for scheduler.cpp and collectives.cpp
void on_barrier_arrival(BlockRun* run, Thread* t, int line);
void on_barrier(BlockRun* run);
void on_collective_arrival(BlockRun* run, Thread* t, unsigned mask);
void on_collective(BlockRun* run, Warp* warp, unsigned members, int operation);
void on_fence(BlockRun* run, Thread* t);
void on_spin(BlockRun* run, int line);
void on_thread_end(BlockRun* run, Thread* t);

// check_launch.cpp
void run_checked(const Request* request);

}  // namespace check
}  // namespace emu
