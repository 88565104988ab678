// A checked launch: all blocks on this OS thread. The blocks of a cooperative launch are all resident: at a grid
// barrier one is put aside, with its shared memory, and the next goes on.
#include "check.h"

#include <link.h>

#include <algorithm>

namespace emu {
namespace check {

struct Resident {
  BlockRun* run;
  BlockState* block;
  std::vector<std::vector<char>> shared_bytes;  // of each shared region, while another block runs
  std::vector<std::vector<Cell>> shared_cells;
  bool saved;
};

static std::vector<Resident> residents;  // outlives a jump out of a failed launch

static void make_room(uint64_t blocks) {
  while (residents.size() < blocks) {
    residents.push_back({(BlockRun*)calloc(1, sizeof(BlockRun)), new BlockState(), {}, {}, false});
  }
}

static void put_aside(Resident* r) {
  size_t n = state.regions.size() - state.global_regions;
  r->shared_bytes.resize(n);
  r->shared_cells.resize(n);
  for (size_t i = 0; i < n; i++) {
    Region* region = state.regions[state.global_regions + i].get();
    r->shared_bytes[i].assign((char*)region->low, (char*)region->high);
    r->shared_cells[i] = region->cells;
  }
  r->saved = true;
}

static void bring_back(Resident* r) {
  for (size_t i = 0; i < r->shared_bytes.size(); i++) {
    Region* region = state.regions[state.global_regions + i].get();
    memcpy((char*)region->low, r->shared_bytes[i].data(), r->shared_bytes[i].size());
    size_t finer = region->cells.size() / std::max<size_t>(1, r->shared_cells[i].size());
    if (finer <= 1) {
      region->cells = r->shared_cells[i];
    } else {  // another block refined the region meanwhile
      for (size_t c = 0; c < region->cells.size(); c++) region->cells[c] = r->shared_cells[i][c / finer];
    }
  }
}

static uint64_t block_in_order(uint64_t i, uint64_t total, int order) {
  if (order == 0) return i;
  if (order == 1) return total - 1 - i;
  uint64_t shifted = (i + (uint64_t)order * 2654435761ull) % total;
  return order & 1 ? total - 1 - shifted : shifted;
}

static void run_in_turn(const Request* request, uint64_t total) {
  Worker* w = worker;
  for (uint64_t i = 0; i < total && !failed; i++) {
    prepare_block(w, w->run, block_in_order(i, total, request->order));
    start_block(w->run, residents[0].block);
    enter_block(w, w->run);
    for (int warp = 0; state.check.costs && warp < w->run->warps; warp++) flush_costs(w->run, warp);
  }
}

static void run_together(const Request* request, uint64_t total) {
  Worker* w = worker;
  for (uint64_t i = 0; i < total; i++) {
    residents[i].saved = false;
    residents[i].shared_bytes.clear();
    residents[i].shared_cells.clear();
    prepare_block(w, residents[i].run, block_in_order(i, total, request->order));
    start_block(residents[i].run, residents[i].block);
  }
  for (uint64_t done = 0; done < total && !failed;) {
    uint64_t at_barrier = 0;
    done = 0;
    for (uint64_t i = 0; i < total; i++) {
      Resident& r = residents[i];
      if (finished(r.run)) {
        done++;
        continue;
      }
      if (r.run->runnable_warps == 0) {
        at_barrier++;
        continue;
      }
      state.block = r.block;
      if (r.saved) bring_back(&r);
      enter_block(w, r.run);
      for (int warp = 0; state.check.costs && warp < r.run->warps; warp++) flush_costs(r.run, warp);
      if (finished(r.run)) {
        done++;
      } else {
        put_aside(&r);
        at_barrier += r.run->runnable_warps == 0;
      }
    }
    if (at_barrier == 0 || at_barrier + done < total) continue;
    if (done > 0) {
      w->run = residents[0].run;
      fail(barrier_divergence, 0, "grid.sync() waits for blocks that have ended without reaching it");
    }
    state.phase++;
    for (uint64_t i = 0; i < total; i++) {
      Resident& r = residents[i];
      release_grid_barrier(r.run);
      state.block = r.block;
      new_interval();
    }
    done = 0;
  }
}

void run_checked(const Request* request) {
  state.request = request;
  uint64_t total = (uint64_t)request->grid[0] * request->grid[1] * request->grid[2];
  make_room(request->cooperative ? total : 1);
  if (request->cooperative) {
    run_together(request, total);
  } else {
    run_in_turn(request, total);
  }
  if (!failed) unwritten_outputs();
}

}  // namespace check
}  // namespace emu

using namespace emu;
using namespace emu::check;

// To be called before each checked launch.
extern "C" EMU_API void emu_check_begin(const CheckRequest* check) {
  state.check = *check;
  state.regions.clear();
  state.last_hit = nullptr;
  state.intervals.assign(1, Interval{~0ull, 0});  // number 0 means never
  state.released.clear();
  state.findings.clear();
  state.phase = 0;
  state.spins = state.barriers = state.collectives = 0;
  reset_costs();
  for (uint64_t i = 0; i < check->array_count; i++) {
    const ArrayRequest& a = check->arrays[i];
    add_region(a.address, a.bytes, 0, a.element, a.flags, nullptr, a.name);
  }
  state.global_regions = state.regions.size();
  if (check->dynamic_address && check->dynamic_bytes) {
    add_region(check->dynamic_address, check->dynamic_bytes, 1, check->dynamic_element, 0, nullptr,
               check->dynamic_name);
  }
}

// Where the library lies that the address belongs to.
extern "C" EMU_API void emu_module_range(void* inside, uint64_t* low, uint64_t* high) {
  struct Search {
    uintptr_t inside, low, high;
  } search = {(uintptr_t)inside, 0, 0};
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* data) {
        Search* s = (Search*)data;
        uintptr_t first = ~(uintptr_t)0, last = 0;
        for (int i = 0; i < info->dlpi_phnum; i++) {
          if (info->dlpi_phdr[i].p_type != PT_LOAD) continue;
          uintptr_t start = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
          first = std::min(first, start);
          last = std::max(last, start + info->dlpi_phdr[i].p_memsz);
        }
        if (s->inside < first || s->inside >= last) return 0;
        s->low = first, s->high = last;
        return 1;
      },
      &search);
  *low = search.low;
  *high = search.high;
}

extern "C" EMU_API uint64_t emu_check_findings(const Finding** out) {
  *out = state.findings.data();
  return state.findings.size();
}
