// Each branch has a barrier of its own.
// ---
// block: 64
// args: [out float32[64] output]
// fault: barrier-divergence
// ---
extern "C" __global__ void k(float* out) {
  int t = threadIdx.x;
  if (t % 2 == 0) {
    out[t] = 0.0f;
    __syncthreads();  // FAULT
  } else {
    out[t] = 1.0f;
    __syncthreads();  // FAULT
  }
}
