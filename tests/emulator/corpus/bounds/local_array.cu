// An index past a thread's own array.
// ---
// block: 32
// args: [n int32 = 8, out float32[32] output]
// fault: out-of-bounds
// array: history
// ---
extern "C" __global__ void k(int n, float* out) {
  float history[8];
  for (int i = 0; i < 8; i++) history[i] = i;
  int last = n + threadIdx.x / 16;
  out[threadIdx.x] = history[last];  // FAULT
}
