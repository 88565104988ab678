// Threads write neighbouring bytes of one word: that is no race.
// ---
// block: 64
// args: [x uint8[64] random, out uint8[64] output]
// fault: none
// expect: np.array_equal(out, x[::-1])
// ---
extern "C" __global__ void k(const unsigned char* x, unsigned char* out) {
  __shared__ unsigned char s[64];
  int t = threadIdx.x;
  s[t] = x[t];
  __syncthreads();
  out[t] = s[63 - t];
}
