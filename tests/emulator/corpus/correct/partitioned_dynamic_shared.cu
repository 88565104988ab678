// Three arrays of different types in one piece of dynamic shared memory.
// ---
// block: 32
// shared_mem: 384
// args: [x float32[32] random, out float32[32] output]
// fault: none
// expect: np.allclose(out, x[::-1] + np.arange(32)[::-1], rtol=1e-5)
// ---
extern "C" __global__ void k(const float* x, float* out) {
  extern __shared__ __align__(16) unsigned char memory[];
  float* values = reinterpret_cast<float*>(memory);
  unsigned char* flags = memory + 128;
  int* indices = reinterpret_cast<int*>(memory + 256);
  int t = threadIdx.x;
  values[t] = x[t];
  flags[t] = t % 2;
  indices[t] = 31 - t;
  __syncthreads();
  out[t] = values[indices[t]] + indices[t] + (flags[indices[t]] == indices[t] % 2 ? 0.0f : 100.0f);
}
