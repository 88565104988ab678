// 16-byte accesses to shared memory: a quarter warp at a time.
// ---
// grid: 4
// block: 64
// args: [x float32[1024] random, out float32[1024] output]
// fault: none
// expect: np.array_equal(out.reshape(4, 64, 4), x.reshape(4, 64, 4)[:, ::-1])
// ---
extern "C" __global__ void k(const float4* x, float4* out) {
  __shared__ float4 s[64];
  int t = threadIdx.x, i = blockIdx.x * 64 + t;
  s[t] = x[i];
  __syncthreads();
  out[i] = s[63 - t];
}
