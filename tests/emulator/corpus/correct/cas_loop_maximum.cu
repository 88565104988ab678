// A float maximum by compare and swap.
// ---
// grid: 3
// block: 64
// args: [x float32[192] random, out float32[1] zeros]
// fault: none
// expect: out[0] == max(0, x.max())
// ---
extern "C" __global__ void k(const float* x, float* out) {
  int* bits = reinterpret_cast<int*>(out);
  float mine = x[blockIdx.x * 64 + threadIdx.x];
  int seen = atomicAdd(bits, 0);
  while (mine > __int_as_float(seen)) {
    int before = atomicCAS(bits, seen, __float_as_int(mine));
    if (before == seen) break;
    seen = before;
  }
}
