// Many grid barriers; shared memory lives across them.
// ---
// grid: 6
// block: 32
// cooperative: true
// args: [a float32[192] random, b float32[192] zeros, rounds int32 = 5]
// fault: none
// expect: np.allclose(b, np.roll(a_before, -5 * 7) + 5, rtol=1e-4, atol=1e-4)
// ---
#include <cooperative_groups.h>
extern "C" __global__ void k(float* a, float* b, int rounds) {
  __shared__ float mine[32];
  cooperative_groups::grid_group grid = cooperative_groups::this_grid();
  int n = gridDim.x * blockDim.x, i = blockIdx.x * blockDim.x + threadIdx.x;
  float *from = a, *to = b;
  for (int r = 0; r < rounds; r++) {
    mine[threadIdx.x] = from[(i + 7) % n] + 1.0f;
    grid.sync();
    to[i] = mine[threadIdx.x];
    grid.sync();
    float* other = from;
    from = to;
    to = other;
  }
}
