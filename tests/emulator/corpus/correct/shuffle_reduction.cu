// Registers only.
// ---
// block: 96
// args: [x float32[96] random, out float32[3] output]
// fault: none
// expect: np.allclose(out, x.reshape(3, 32).sum(1), rtol=1e-4, atol=1e-4)
// ---
extern "C" __global__ void k(const float* x, float* out) {
  float v = x[threadIdx.x];
  for (int d = 16; d > 0; d /= 2) v += __shfl_down_sync(0xffffffffu, v, d);
  if (threadIdx.x % 32 == 0) out[threadIdx.x / 32] = v;
}
