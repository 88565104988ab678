// The last block adds up what the others left; without __threadfence their sums may not have arrived.
// ---
// grid: 8
// block: 32
// args: [x float32[256] random, partial float32[8] zeros output, counter uint32[1] zeros, out float32[1] output]
// fault: data-race
// array: partial
// ---
extern "C" __global__ void k(const float* x, float* partial, unsigned* counter, float* out) {
  if (threadIdx.x != 0) return;
  float sum = 0.0f;
  for (int i = 0; i < 32; i++) sum += x[blockIdx.x * 32 + i];
  partial[blockIdx.x] = sum;  // FAULT
  if (atomicAdd(counter, 1u) == gridDim.x - 1) {
    float total = 0.0f;
    for (int b = 0; b < gridDim.x; b++) total += partial[b];  // FAULT
    out[0] = total;
  }
}
