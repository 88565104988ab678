// Argmax: out[r] = the index of the largest number in row r; of equals the lowest index; -1 where the row has a NaN.
//
// A row is cut into parts, and each part gets a block: one block alone would leave most of the GPU idle. A second kernel
// merges. Both compare keys: a number and its index in 64 bits, so that the larger key is the better candidate.
//
//   logits   [rows, vocab], row after row     vocab is at least 1
//   keys     [rows, parts], the best key of each part, between the two kernels
//   out      [rows]
//   argmax_parts   grid parts × rows blocks (x, y)     part p takes columns p · PART … p · PART + PART - 1
//   argmax_merge   grid rows blocks                    block of both: THREADS threads, whole warps, at most 1024

#ifndef THREADS
#define THREADS 256
#endif
#ifndef PART
#define PART 1024
#endif
static_assert(THREADS % 32 == 0 && THREADS <= 1024, "a block is whole warps, at most 1024 threads");

using Key = unsigned long long;
constexpr Key NONE = 0;              // less than every candidate
constexpr Key NOT_A_NUMBER = ~0ull;  // more than every candidate

// The candidate `value` at `index` as a key: the larger number has the larger key, and of equal numbers the lower index.
__device__ __forceinline__ Key key_of(float value, int index) {
  Key key = NONE;
  // solve: begin
  // stub: // 1. A NaN is NOT_A_NUMBER. -0.0f equals 0.0f: give both the same bits.
  // stub: // 2. The bits as an unsigned number, changed so that they are in the order of the floats, negative ones too.
  // stub: // 3. Those above, the index below, such that the lower index is the larger key.
  unsigned bits = __float_as_uint(value);
  // -0.0f is 0.0f. Compared as floats, subnormal numbers would be 0 too where a build flushes them.
  if (bits == 0x80000000u) bits = 0;
  unsigned ordered = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  key = value == value ? (Key)ordered << 32 | ~(unsigned)index : NOT_A_NUMBER;
  // solve: end
  return key;
}

// The index in a key; -1 for a row with a NaN.
__device__ __forceinline__ int index_of(Key key) {
  int index = -1;
  // solve: begin
  // stub: // The way back from what key_of has done to the index.
  if (key != NOT_A_NUMBER) index = (int)~(unsigned)key;
  // solve: end
  return index;
}

// The largest key of the block, for every thread; all threads of the block must call it.
__device__ __forceinline__ Key block_max(Key key) {
  __shared__ Key partial[THREADS / 32];  // one slot a warp
  // solve: begin
  // stub: // Day 6: five shuffles in each warp, one slot a warp, a barrier, then all slots. max() takes keys too.
  // stub: (void)partial;
  for (int distance = 16; distance > 0; distance /= 2) key = max(key, __shfl_xor_sync(0xffffffffu, key, distance));
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = key;
  __syncthreads();
  for (int warp = 0; warp < THREADS / 32; warp++) key = max(key, partial[warp]);
  // solve: end
  return key;
}

extern "C" __global__ void argmax_parts(const float* __restrict__ logits, Key* __restrict__ keys, int vocab) {
  // solve: begin
  // stub: // 1. This block's row, and the columns of its part; the last part ends where the row ends.
  // stub: // 2. Each thread keeps the best key of its share of the part; the index is that of the column in the row.
  // stub: // 3. The block's best key goes to keys[row, part].
  const float* row = logits + (size_t)blockIdx.y * vocab;
  int first = blockIdx.x * PART, end = min(first + PART, vocab);
  Key best = NONE;
  for (int i = first + threadIdx.x; i < end; i += THREADS) best = max(best, key_of(row[i], i));
  best = block_max(best);
  if (threadIdx.x == 0) keys[(size_t)blockIdx.y * gridDim.x + blockIdx.x] = best;
  // solve: end
}

extern "C" __global__ void argmax_merge(const Key* __restrict__ keys, int* __restrict__ out, int parts) {
  // solve: begin
  // stub: // The best of this row's keys, and its index to out. There can be more parts than threads.
  const Key* row = keys + (size_t)blockIdx.x * parts;
  Key best = NONE;
  for (int part = threadIdx.x; part < parts; part += THREADS) best = max(best, row[part]);
  best = block_max(best);
  if (threadIdx.x == 0) out[blockIdx.x] = index_of(best);
  // solve: end
}
