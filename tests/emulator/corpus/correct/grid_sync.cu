// Two phases with a barrier of the whole grid.
// ---
// grid: 4
// block: 32
// cooperative: true
// args: [a float32[128] random, b float32[128] output, c float32[128] output]
// fault: none
// expect: np.array_equal(c, 2 * a[::-1])
// ---
#include <cooperative_groups.h>
extern "C" __global__ void k(const float* a, float* b, float* c) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  b[i] = 2.0f * a[i];
  cooperative_groups::this_grid().sync();
  c[i] = b[127 - i];
}
