// One barrier a round is enough when two buffers take turns.
// ---
// block: 64
// args: [x float32[256] random, out float32[64] output]
// fault: none
// expect: np.allclose(out, x.reshape(4, 64)[:, ::-1].sum(0), rtol=1e-4, atol=1e-4)
// ---
extern "C" __global__ void k(const float* x, float* out) {
  __shared__ float tile[2][64];
  int t = threadIdx.x;
  float sum = 0.0f;
  tile[0][t] = x[t];
  __syncthreads();
  for (int step = 0; step < 4; step++) {
    if (step < 3) tile[(step + 1) % 2][t] = x[(step + 1) * 64 + t];
    sum += tile[step % 2][63 - t];
    __syncthreads();
  }
  out[t] = sum;
}
