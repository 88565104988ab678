// Three blocks of 32 for 100 elements.
// ---
// grid: 3
// block: 32
// args: [x float32[100] random, out float32[100] output]
// fault: uninitialised-output
// array: out
// ---
extern "C" __global__ void k(const float* x, float* out) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  out[i] = x[i];
}
