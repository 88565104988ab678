// 16 bytes a thread.
// ---
// grid: 4
// block: 256
// args: [x float32[4096] random, out float32[4096] output]
// fault: none
// expect: np.array_equal(out, 2 * x)
// ---
extern "C" __global__ void k(const float4* x, float4* out) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  float4 v = x[i];
  out[i] = make_float4(2.0f * v.x, 2.0f * v.y, 2.0f * v.z, 2.0f * v.w);
}
