// An 8-byte store to a 4-byte boundary.
// ---
// block: 8
// args: [out uint32[32] zeros output]
// fault: misaligned
// array: out
// ---
extern "C" __global__ void k(unsigned* out) {
  uint2 v = make_uint2(threadIdx.x, 7);
  *reinterpret_cast<uint2*>(out + 1 + 2 * threadIdx.x) = v;  // FAULT
}
