// Double buffering that forgot to take turns.
// ---
// block: 64
// args: [x float32[256] random, out float32[64] output]
// fault: data-race
// array: tile
// ---
extern "C" __global__ void k(const float* x, float* out) {
  __shared__ float tile[2][64];
  int t = threadIdx.x;
  float sum = 0.0f;
  tile[0][t] = x[t];
  __syncthreads();
  for (int step = 0; step < 4; step++) {
    if (step < 3) tile[0][t] = x[(step + 1) * 64 + t];  // FAULT
    sum += tile[0][63 - t];                             // FAULT
    __syncthreads();
  }
  out[t] = sum;
}
