// What each source line's accesses cost: 32-byte sectors of global memory, wavefronts of shared memory.
#include "check.h"

#include <algorithm>

namespace emu {
namespace check {

struct Request32 {  // one instruction of a warp: the lanes that execute it together
  uint64_t address[32];
  uint32_t mask;
};
struct Site {
  SiteCost cost;
  std::vector<Request32> pending[max_warps];
  uint32_t executed[max_threads];  // times since the warp last came together
};
static std::unordered_map<uint64_t, std::unique_ptr<Site>> sites;

void reset_costs() { sites.clear(); }

// The n-th execution of an instruction by each lane since they last met is taken for one instruction of the warp.
void count_access(uintptr_t address, size_t bytes, bool write, bool shared, uint32_t pc, const Thread* t) {
  auto& slot = sites[(uint64_t)pc << 2 | (uint64_t)write << 1 | (uint64_t)shared];
  if (!slot) {
    slot = std::make_unique<Site>();
    memset(&slot->cost, 0, sizeof slot->cost);
    memset(slot->executed, 0, sizeof slot->executed);
    slot->cost.pc = pc;
    slot->cost.shared = shared;
    slot->cost.write = write;
    slot->cost.bytes = (uint32_t)bytes;
  }
  uint32_t n = slot->executed[t->linear]++;
  auto& pending = slot->pending[t->linear >> 5];
  if (pending.size() <= n) pending.resize(n + 1);
  pending[n].address[t->linear & 31] = address;
  pending[n].mask |= 1u << (t->linear & 31);
}

static uint64_t distinct(uint64_t* values, size_t n) {
  std::sort(values, values + n);
  return (uint64_t)(std::unique(values, values + n) - values);
}

static uint64_t global_sectors(const Request32& request, uint32_t bytes) {
  uint64_t sectors[32 * 5];
  size_t n = 0;
  for (int lane = 0; lane < 32; lane++) {
    if (!(request.mask >> lane & 1)) continue;
    for (uint64_t s = request.address[lane] >> 5; s <= (request.address[lane] + bytes - 1) >> 5 && n < 160; s++)
      sectors[n++] = s;
  }
  return distinct(sectors, n);
}

// 32 banks of 4 bytes. Lanes that want the same word share it; wide accesses are served half or a quarter warp at a
// time.
static uint64_t shared_wavefronts(const Request32& request, uint32_t bytes) {
  uint32_t words = std::max(1u, bytes / 4);
  int lanes_at_once = words >= 4 ? 8 : words >= 2 ? 16 : 32;
  uint64_t total = 0;
  for (int first = 0; first < 32; first += lanes_at_once) {
    uint64_t wanted[32 * 4];
    size_t n = 0;
    for (int lane = first; lane < first + lanes_at_once; lane++) {
      if (!(request.mask >> lane & 1)) continue;
      for (uint32_t w = 0; w < words && n < 128; w++) wanted[n++] = request.address[lane] / 4 + w;
    }
    size_t kinds = distinct(wanted, n);
    uint32_t in_bank[32] = {}, worst = 0;
    for (size_t i = 0; i < kinds; i++) worst = std::max(worst, ++in_bank[wanted[i] & 31]);
    total += worst;
  }
  return total;
}

static uint64_t least(const Request32& request, uint32_t bytes, bool shared) {  // for as many distinct bytes
  uint64_t addresses[32];
  size_t n = 0;
  for (int lane = 0; lane < 32; lane++) {
    if (request.mask >> lane & 1) addresses[n++] = request.address[lane];
  }
  uint64_t total = distinct(addresses, n) * bytes;
  uint64_t unit = shared ? 128 : 32;
  return std::max<uint64_t>(1, (total + unit - 1) / unit);
}

void flush_costs(const BlockRun*, int warp) {
  for (auto& [key, site] : sites) {
    auto& pending = site->pending[warp];
    if (pending.empty()) continue;
    SiteCost& cost = site->cost;
    for (const Request32& request : pending) {
      cost.requests++;
      cost.lanes += (uint64_t)__builtin_popcount(request.mask);
      cost.transactions += cost.shared ? shared_wavefronts(request, cost.bytes) : global_sectors(request, cost.bytes);
      cost.ideal += least(request, cost.bytes, cost.shared);
    }
    pending.clear();
    memset(&site->executed[warp * 32], 0, 32 * sizeof(uint32_t));
  }
}

}  // namespace check
}  // namespace emu

using namespace emu::check;

// Copies at most `room` sites out and returns how many there are.
extern "C" EMU_API uint64_t emu_check_costs(SiteCost* out, uint64_t room, uint64_t* barriers, uint64_t* collectives) {
  uint64_t n = 0;
  for (auto& [key, site] : sites) {
    if (n < room) out[n] = site->cost;
    n++;
  }
  *barriers = state.barriers;
  *collectives = state.collectives;
  return n;
}
