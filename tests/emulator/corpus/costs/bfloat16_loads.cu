// Two bytes a thread.
// ---
// grid: 16
// block: 256
// args: [x bfloat16[4096] random, out float32[4096] output]
// fault: none
// expect: np.array_equal(out, x.astype('f4'))
// ---
#include <cuda_bf16.h>
extern "C" __global__ void k(const __nv_bfloat16* x, float* out) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  out[i] = __bfloat162float(x[i]);
}
