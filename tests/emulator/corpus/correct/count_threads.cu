// Barriers that count.
// ---
// block: 96
// args: [x float32[96] random, out int32[3] output]
// fault: none
// expect: list(out) == [(x > 0).sum(), int((x > 0).any()), int((x > 0).all())]
// ---
extern "C" __global__ void k(const float* x, int* out) {
  int positive = x[threadIdx.x] > 0.0f;
  int count = __syncthreads_count(positive), any = __syncthreads_or(positive), all = __syncthreads_and(positive);
  if (threadIdx.x == 0) out[0] = count, out[1] = any != 0, out[2] = all != 0;
}
