// One warp produces, another consumes, and no barrier stands between them.
// ---
// block: 64
// args: [x float32[32] random, out float32[32] output]
// fault: data-race
// array: queue
// ---
extern "C" __global__ void k(const float* x, float* out) {
  __shared__ float queue[32];
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  if (warp == 0) queue[lane] = x[lane] * 2.0f;  // FAULT
  if (warp == 1) out[lane] = queue[lane];       // FAULT
}
