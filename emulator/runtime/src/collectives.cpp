// Warp collectives: lanes bring a value each; the last to arrive works out what all of them take away.
#include "runtime.h"
#include "check.h"

namespace emu {

static uint32_t reduce(int operation, uint32_t a, uint32_t b) {
  int32_t x = (int32_t)a, y = (int32_t)b;
  switch (operation) {
    case op_add:
      return a + b;
    case op_min:
      return (uint32_t)(x < y ? x : y);
    case op_max:
      return (uint32_t)(x > y ? x : y);
    case op_min_unsigned:
      return a < b ? a : b;
    case op_max_unsigned:
      return a > b ? a : b;
    case op_and:
      return a & b;
    case op_or:
      return a | b;
    default:
      return a ^ b;
  }
}

static unsigned lanes_equal_to(const Warp* warp, unsigned members, uint64_t value) {
  unsigned equal = 0;
  for (unsigned rest = members; rest; rest &= rest - 1) {
    int lane = __builtin_ctz(rest);
    equal |= (unsigned)(warp->value[lane] == value) << lane;
  }
  return equal;
}

// Fills `result` of every member.
static void work_out(Warp* warp, unsigned members, int operation) {
  const int first = __builtin_ctz(members);
  if (operation == op_shuffle) {
    if (members == ~0u) {
      for (int lane = 0; lane < 32; lane++) warp->result[lane] = warp->value[warp->source[lane] & 31];
    } else {
      for (unsigned rest = members; rest; rest &= rest - 1) {
        int lane = __builtin_ctz(rest);
        warp->result[lane] = warp->value[warp->source[lane] & 31];
      }
    }
    return;
  }
  if (operation == op_syncwarp) return;
  if (operation == op_call) {
    warp->call(warp->value);
    return;
  }
  if (operation == op_match_any) {
    for (unsigned rest = members; rest; rest &= rest - 1) {
      int lane = __builtin_ctz(rest);
      warp->result[lane] = lanes_equal_to(warp, members, warp->value[lane]);
    }
    return;
  }
  uint64_t same_for_all = 0;
  if (operation == op_ballot) {
    for (unsigned rest = members; rest; rest &= rest - 1) {
      int lane = __builtin_ctz(rest);
      same_for_all |= warp->value[lane] << lane;
    }
  } else if (operation == op_match_all) {
    same_for_all = lanes_equal_to(warp, members, warp->value[first]) == members ? members : 0;
  } else {
    uint32_t sum = (uint32_t)warp->value[first];
    for (unsigned rest = members & (members - 1); rest; rest &= rest - 1) {
      sum = reduce(operation, sum, (uint32_t)warp->value[__builtin_ctz(rest)]);
    }
    same_for_all = sum;
  }
  for (unsigned rest = members; rest; rest &= rest - 1) warp->result[__builtin_ctz(rest)] = same_for_all;
}

}  // namespace emu

using namespace emu;

extern "C" EMU_API void emu_collective_complete(Warp* warp, unsigned members, int operation) {
  BlockRun* run = worker->run;
  if (worker->request->checked) check::on_collective(run, warp, members, operation);
  work_out(warp, members, operation);
  warp->arrived &= ~members;
  warp->runnable |= members;
  run->runnable_warps |= 1u << (warp - run->warp);
}

extern "C" EMU_API uint64_t emu_collective(int operation, unsigned mask, uint64_t value, int source, int line) {
  Thread* self = emu_thread;
  Warp* warp = self->warp;
  unsigned lane = self->linear & 31, bit = 1u << lane, members = mask & warp->live;
  self->line = line;
  self->operation = operation;
  self->pc = __builtin_return_address(0);
  if (!(mask & bit)) {
    fail(collective_divergence, line, "lane %u calls %s with the mask 0x%08x, which does not name lane %u", lane,
         operation_name(operation), mask, lane);
  }
  if (worker->request->checked) check::on_collective_arrival(worker->run, self, mask);
  warp->value[lane] = value;
  warp->source[lane] = source;
  warp->mask[lane] = mask;
  warp->arrived |= bit;
  if ((warp->arrived & members) == members) {
    emu_collective_complete(warp, members, operation);
  } else {
    wait(self);
  }
  return warp->result[lane];
}

extern "C" EMU_API uint64_t emu_collective_call(void (*call)(uint64_t*), uint64_t value, int line) {
  emu_thread->warp->call = call;
  return emu_collective(op_call, ~0u, value, 0, line);
}

extern "C" EMU_API unsigned emu_active_mask() { return emu_thread->warp->live; }
