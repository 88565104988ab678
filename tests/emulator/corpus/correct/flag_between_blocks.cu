// One block waits for a flag of another, behind fences; all blocks are resident.
// ---
// grid: 2
// block: 32
// cooperative: true
// args: [x float32[32] random, mail float32[32] zeros, flag int32[1] zeros, out float32[32] output]
// fault: none
// expect: np.array_equal(out, x + 1)
// ---
extern "C" __global__ void k(const float* x, volatile float* mail, volatile int* flag, float* out) {
  int t = threadIdx.x;
  if (blockIdx.x == 0) {
    mail[t] = x[t];
    __threadfence();
    __syncthreads();
    if (t == 0) flag[0] = 1;
  } else {
    if (t == 0) {
      while (flag[0] == 0) {}
      __threadfence();
    }
    __syncthreads();
    out[t] = mail[t] + 1.0f;
  }
}
