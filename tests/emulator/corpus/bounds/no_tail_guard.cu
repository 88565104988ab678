// 50 elements, 64 threads, no guard.
// ---
// grid: 2
// block: 32
// args: [x float32[50] random, out float32[50] output]
// fault: out-of-bounds
// array: x
// ---
extern "C" __global__ void k(const float* x, float* out) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  float v = x[i];  // FAULT
  out[i] = v + 1.0f;
}
