// Cooperative groups of eight lanes.
// ---
// block: 64
// args: [x float32[64] random, out float32[8] output]
// fault: none
// expect: np.allclose(out, x.reshape(8, 8).sum(1), rtol=1e-4, atol=1e-4)
// ---
#include <cooperative_groups.h>
namespace cg = cooperative_groups;
extern "C" __global__ void k(const float* x, float* out) {
  cg::thread_block block = cg::this_thread_block();
  cg::thread_block_tile<8> tile = cg::tiled_partition<8>(block);
  float v = x[block.thread_rank()];
  for (int d = 4; d > 0; d /= 2) v += tile.shfl_down(v, d);
  if (tile.thread_rank() == 0) out[block.thread_rank() / 8] = v;
}
