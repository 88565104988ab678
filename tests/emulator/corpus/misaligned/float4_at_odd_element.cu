// A 16-byte load from a 4-byte boundary.
// ---
// block: 8
// args: [x float32[40] random, out float32[8] output]
// fault: misaligned
// array: x
// ---
extern "C" __global__ void k(const float* x, float* out) {
  float4 v = *reinterpret_cast<const float4*>(x + 1 + 4 * threadIdx.x);  // FAULT
  out[threadIdx.x] = v.x + v.y + v.z + v.w;
}
