// The old warp-synchronous reduction: volatile keeps values out of registers, but orders nothing between lanes.
// ---
// block: 32
// args: [x float32[32] random, out float32[1] output]
// fault: data-race
// array: s
// ---
extern "C" __global__ void k(const float* x, float* out) {
  __shared__ volatile float s[64];
  int lane = threadIdx.x;
  s[lane] = x[lane];                                                            // FAULT
  s[lane + 32] = 0.0f;                                                          // FAULT
  for (int half = 16; half > 0; half /= 2) s[lane] = s[lane] + s[lane + half];  // FAULT
  if (lane == 0) out[0] = s[0];
}
