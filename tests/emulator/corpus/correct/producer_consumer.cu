// One warp fills a slot while the other empties the one before.
// ---
// block: 64
// args: [x float32[128] random, out float32[128] output]
// fault: none
// expect: np.array_equal(out, 2 * x)
// ---
extern "C" __global__ void k(const float* x, float* out) {
  __shared__ float queue[2][32];
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  for (int step = 0; step < 5; step++) {
    if (warp == 0 && step < 4) queue[step % 2][lane] = 2.0f * x[step * 32 + lane];
    if (warp == 1 && step > 0) out[(step - 1) * 32 + lane] = queue[(step - 1) % 2][lane];
    __syncthreads();
  }
}
