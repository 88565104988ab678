// A reduction within each warp: __syncwarp orders it, no block barrier needed.
// ---
// block: 64
// args: [x float32[64] random, out float32[2] output]
// fault: none
// expect: np.allclose(out, x.reshape(2, 32).sum(1), rtol=1e-4, atol=1e-4)
// ---
extern "C" __global__ void k(const float* x, float* out) {
  __shared__ float s[64];
  int t = threadIdx.x, lane = t % 32;
  s[t] = x[t];
  __syncwarp();
  for (int half = 16; half > 0; half /= 2) {
    float v = lane < half ? s[t + half] : 0.0f;
    __syncwarp();
    if (lane < half) s[t] += v;
    __syncwarp();
  }
  if (lane == 0) out[t / 32] = s[t];
}
