// Blocks add to one sum without an atomic.
// ---
// grid: 4
// block: 32
// args: [x float32[128] random, out float32[1] zeros output]
// fault: data-race
// array: out
// ---
extern "C" __global__ void k(const float* x, float* out) {
  if (threadIdx.x == 0) {
    float sum = 0.0f;
    for (int i = 0; i < 32; i++) sum += x[blockIdx.x * 32 + i];
    out[0] += sum;  // FAULT
  }
}
