// Match, ballot and reduce.
// ---
// block: 32
// args: [x uint32[32] random, out uint32[32] output]
// fault: none
// expect: np.array_equal(out, [sum(1 << j for j in range(32) if x[j] % 4 == x[i] % 4) ^ 5 for i in range(32)])
// ---
extern "C" __global__ void k(const unsigned* x, unsigned* out) {
  unsigned v = x[threadIdx.x] % 4;
  unsigned same = __match_any_sync(0xffffffffu, v);
  unsigned odd = __ballot_sync(0xffffffffu, threadIdx.x == 0 || threadIdx.x == 2);
  unsigned all = __reduce_or_sync(0xffffffffu, odd);
  out[threadIdx.x] = same ^ all;
}
