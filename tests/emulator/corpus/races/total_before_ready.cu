// Thread 0 computes a total, the others use it at once.
// ---
// block: 64
// args: [x float32[64] random, out float32[64] output]
// fault: data-race
// array: total
// ---
extern "C" __global__ void k(const float* x, float* out) {
  __shared__ float total;
  int t = threadIdx.x;
  if (t == 0) {
    float sum = 0.0f;
    for (int i = 0; i < 64; i++) sum += x[i];
    total = sum;  // FAULT
  }
  out[t] = x[t] / total;  // FAULT
}
