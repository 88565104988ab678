// A lock around a plain sum.
// ---
// grid: 4
// block: 32
// args: [lock int32[1] zeros, out float32[1] zeros]
// fault: none
// expect: out[0] == 4
// ---
extern "C" __global__ void k(int* lock, float* out) {
  if (threadIdx.x == 0) {
    while (atomicCAS(lock, 0, 1) != 0) {}
    __threadfence();
    out[0] += 1.0f;
    __threadfence();
    atomicExch(lock, 0);
  }
}
