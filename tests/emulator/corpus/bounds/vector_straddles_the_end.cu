// 62 floats are fifteen and a half float4.
// ---
// block: 16
// args: [x float32[62] random, out float32[16] output]
// fault: out-of-bounds
// array: x
// ---
extern "C" __global__ void k(const float* x, float* out) {
  int t = threadIdx.x;
  float4 v = reinterpret_cast<const float4*>(x)[t];  // FAULT
  out[t] = v.x + v.y + v.z + v.w;
}
