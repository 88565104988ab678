// Counting with += instead of atomicAdd.
// ---
// block: 64
// args: [x float32[64] random, count int32[1] zeros output]
// fault: data-race
// array: count
// ---
extern "C" __global__ void k(const float* x, int* count) {
  if (x[threadIdx.x] > 0.0f) count[0] += 1;  // FAULT
}
