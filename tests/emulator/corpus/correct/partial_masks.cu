// Two groups of one warp shuffle among themselves.
// ---
// block: 32
// args: [x float32[32] random, out float32[32] output]
// fault: none
// expect: np.allclose(out, np.where(np.arange(32) < 12, x[:12].sum(), x[12:].sum()), rtol=1e-4, atol=1e-4)
// ---
extern "C" __global__ void k(const float* x, float* out) {
  int lane = threadIdx.x;
  float sum = 0.0f;
  if (lane < 12) {
    for (int i = 0; i < 12; i++) sum += __shfl_sync(0x00000fffu, x[lane], i);
  } else {
    for (int i = 12; i < 32; i++) sum += __shfl_sync(0xfffff000u, x[lane], i);
  }
  out[lane] = sum;
}
