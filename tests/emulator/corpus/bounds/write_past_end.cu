// The same for a write.
// ---
// block: 64
// args: [out float32[60] output]
// fault: out-of-bounds
// array: out
// ---
extern "C" __global__ void k(float* out) {
  out[threadIdx.x] = 1.0f;  // FAULT
}
