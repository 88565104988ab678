// All threads write different values to one variable.
// ---
// block: 64
// args: [out int32[1] output]
// fault: data-race
// array: s
// ---
extern "C" __global__ void k(int* out) {
  __shared__ int s;
  s = threadIdx.x;  // FAULT
  __syncthreads();
  if (threadIdx.x == 0) out[0] = s;
}
