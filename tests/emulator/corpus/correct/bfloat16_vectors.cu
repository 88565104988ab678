// Eight bfloat16 in one 16-byte load.
// ---
// block: 16
// args: [x bfloat16[128] random, out float32[16] output]
// fault: none
// expect: np.allclose(out, x.astype('f4').reshape(16, 8).sum(1), rtol=1e-4, atol=1e-4)
// ---
#include <cuda_bf16.h>
extern "C" __global__ void k(const __nv_bfloat16* x, float* out) {
  uint4 raw = reinterpret_cast<const uint4*>(x)[threadIdx.x];
  const __nv_bfloat162* pairs = reinterpret_cast<const __nv_bfloat162*>(&raw);
  float sum = 0.0f;
  for (int i = 0; i < 4; i++) {
    float2 f = __bfloat1622float2(pairs[i]);
    sum += f.x + f.y;
  }
  out[threadIdx.x] = sum;
}
