// Structs with members of different sizes, one of them never used.
// ---
// block: 32
// args: [x float32[32] random, out float32[32] output]
// fault: none
// expect: np.allclose(out, x[::-1] * np.arange(31, -1, -1), rtol=1e-6)
// ---
struct Item {
  float value;
  short rank;
  char tag;
};
extern "C" __global__ void k(const float* x, float* out) {
  __shared__ Item items[32];
  int t = threadIdx.x;
  items[t].value = x[t];
  items[t].rank = (short)t;
  __syncthreads();
  out[t] = items[31 - t].value * items[31 - t].rank;
}
