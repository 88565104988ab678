// Each half of the warp waits for itself and then reads what the other half wrote.
// ---
// block: 32
// args: [x float32[32] random, out float32[32] output]
// fault: data-race
// array: s
// ---
extern "C" __global__ void k(const float* x, float* out) {
  __shared__ float s[32];
  int lane = threadIdx.x;
  s[lane] = x[lane];  // FAULT
  __syncwarp(lane < 16 ? 0x0000ffffu : 0xffff0000u);
  out[lane] = s[31 - lane];  // FAULT
}
