// The count is read while others still add to it.
// ---
// block: 64
// args: [x float32[64] random, out int32[64] output]
// fault: data-race
// array: hits
// ---
extern "C" __global__ void k(const float* x, int* out) {
  __shared__ int hits;
  int t = threadIdx.x;
  if (t == 0) hits = 0;
  __syncthreads();
  if (x[t] > 0.0f) atomicAdd(&hits, 1);  // FAULT
  out[t] = hits;                         // FAULT
}
