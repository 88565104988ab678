// Shared counters, then global ones.
// ---
// grid: 4
// block: 64
// args: [x uint32[256] random, counts uint32[16] zeros]
// fault: none
// expect: np.array_equal(counts, np.bincount(x % 16, minlength=16))
// ---
extern "C" __global__ void k(const unsigned* x, unsigned* counts) {
  __shared__ unsigned mine[16];
  int t = threadIdx.x;
  if (t < 16) mine[t] = 0;
  __syncthreads();
  atomicAdd(&mine[x[blockIdx.x * 64 + t] % 16], 1u);
  __syncthreads();
  if (t < 16) atomicAdd(&counts[t], mine[t]);
}
