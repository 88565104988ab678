// Sampling: a token for each row of logits, drawn from what penalty, temperature, top-k, top-p and min-p leave.
//
// Probabilities are whole numbers, weights: 2^40 for the largest logit of a row, 2^40 · exp(x - largest) for the others, 0 for
// what is filtered. Sums of whole numbers are the same in any order.
//
//   logits    [rows, vocab], row after row
//   seen      token ids of the texts, each once a text; those of row r are seen[starts[r]] … seen[starts[r + 1] - 1]
//   scaled    [rows, vocab] float, the logits after penalty and temperature
//   weights   [rows, vocab]      all 0 for a row without a distribution: NaN, +inf, or nothing but -inf
//   out       [rows]             -1 for such a row
//   grid      rows blocks        block: THREADS threads, whole warps, at most 1024
#include "block_reduce.cuh"  // day 6: block_reduce<Max>(value, partial)
#include "ordered.cuh"       // day 18: ordered(value), the bits of a float in the order of the floats

#ifndef THREADS
#define THREADS 512
#endif
static_assert(THREADS % 32 == 0 && THREADS <= 1024, "a block is whole warps, at most 1024 threads");

using Weight = unsigned long long;
constexpr float ONE = 1099511627776.0f;  // 2^40, the largest weight

struct Add {
  static __device__ __forceinline__ Weight neutral() { return 0; }
  static __device__ __forceinline__ Weight combine(Weight a, Weight b) { return a + b; }
};

__device__ __forceinline__ Weight weight_of(float value, float largest) {
  return (Weight)(expf(value - largest) * ONE);
}

// The lowest key t such that those of the row's numbers that have a key above t weigh less than `limit` together, and t is at
// least `lowest`. A number weighs 1 for `COUNT`, else its weight. All threads of the block must call it.
template <bool COUNT>
__device__ unsigned threshold(const float* row, int vocab, float largest, unsigned lowest, Weight limit,
                              Weight* partial) {
  unsigned low = lowest;
  // solve: begin
  // stub: // Bisection: t lies between `lowest` and the key of the largest number. Each round asks of the one in the middle what
  // stub: // lies above it: each thread's share, then the block's. `partial` is used in every round.
  unsigned high = ordered(largest);
  while (low < high) {
    unsigned middle = low + (high - low) / 2;
    Weight above = 0;
    for (int i = threadIdx.x; i < vocab; i += THREADS) {
      if (ordered(row[i]) > middle) above += COUNT ? 1 : weight_of(row[i], largest);
    }
    above = block_reduce<Add>(above, partial);
    __syncthreads();  // all threads have read `partial`
    if (above < limit) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  // solve: end
  return low;
}

extern "C" __global__ void sampling_scale(const float* __restrict__ logits, const int* __restrict__ seen,
                                          const int* __restrict__ starts, float* __restrict__ scaled, int vocab,
                                          float penalty, float temperature) {
  const float* row = logits + (size_t)blockIdx.x * vocab;
  float* out = scaled + (size_t)blockIdx.x * vocab;
  // solve: begin
  // stub: // 1. Every logit by the temperature.
  // stub: // 2. Those of the tokens seen once more, from the logit: with the penalty, and by the temperature. Who wrote first?
  // stub: (void)row, (void)out;
  for (int i = threadIdx.x; i < vocab; i += THREADS) out[i] = row[i] / temperature;
  __syncthreads();  // a token seen is written again
  for (int i = starts[blockIdx.x] + threadIdx.x; i < starts[blockIdx.x + 1]; i += THREADS) {
    float logit = row[seen[i]];
    out[seen[i]] = (logit < 0.0f ? logit * penalty : logit / penalty) / temperature;
  }
  // solve: end
}

extern "C" __global__ void sampling_weights(const float* __restrict__ scaled, Weight* __restrict__ weights, int vocab,
                                            int top_k, double top_p, float min_p) {
  __shared__ float maxima[THREADS / 32];
  __shared__ Weight partial[THREADS / 32];
  const float* row = scaled + (size_t)blockIdx.x * vocab;
  Weight* out = weights + (size_t)blockIdx.x * vocab;
  // solve: begin
  // stub: // 1. The row's largest. Without a finite one, all weights are 0.
  // stub: // 2. The lowest key that top-k and then top-p keep. A filter that keeps everything costs nothing.
  // stub: // 3. Each weight, or 0: below that key, or less than min_p of the largest.
  // stub: (void)maxima, (void)partial, (void)row, (void)out;
  float largest = Max::neutral();
  for (int i = threadIdx.x; i < vocab; i += THREADS) largest = Max::combine(largest, row[i]);
  largest = block_reduce<Max>(largest, maxima);
  if (!(fabsf(largest) < CUDART_INF_F)) {  // the same for all threads
    for (int i = threadIdx.x; i < vocab; i += THREADS) out[i] = 0;
    return;
  }

  unsigned lowest = 0;
  if (top_k > 0 && top_k < vocab) lowest = threshold<true>(row, vocab, largest, lowest, top_k, partial);
  if (top_p < 1.0) {
    Weight total = 0;
    for (int i = threadIdx.x; i < vocab; i += THREADS) {
      if (ordered(row[i]) >= lowest) total += weight_of(row[i], largest);
    }
    total = block_reduce<Add>(total, partial);
    __syncthreads();  // all threads have read `partial`
    lowest = threshold<false>(row, vocab, largest, lowest, (Weight)ceil(top_p * (double)total), partial);
  }
  for (int i = threadIdx.x; i < vocab; i += THREADS) {
    bool kept = ordered(row[i]) >= lowest && expf(row[i] - largest) >= min_p;
    out[i] = kept ? weight_of(row[i], largest) : 0;
  }
  // solve: end
}

// 64 random bits, for this seed, step and row alone: Philox 4x32-10 (Salmon and others 2011), counter (step, row, 0, 0).
__device__ unsigned long long philox(unsigned long long seed, unsigned step, unsigned row) {
  unsigned counter[4] = {step, row, 0, 0}, key[2] = {(unsigned)seed, (unsigned)(seed >> 32)};
  // solve: begin
  // stub: // Ten rounds; between two of them, key[0] grows by 0x9E3779B9 and key[1] by 0xBB67AE85.
  for (int round = 0; round < 10; round++) {
    unsigned high0 = __umulhi(0xD2511F53u, counter[0]), low0 = 0xD2511F53u * counter[0];
    unsigned high1 = __umulhi(0xCD9E8D57u, counter[2]), low1 = 0xCD9E8D57u * counter[2];
    counter[0] = high1 ^ counter[1] ^ key[0];
    counter[1] = low1;
    counter[2] = high0 ^ counter[3] ^ key[1];
    counter[3] = low0;
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  // solve: end
  return (unsigned long long)counter[1] << 32 | counter[0];
}

extern "C" __global__ void sampling_bits(unsigned long long* __restrict__ out, int rows, unsigned long long seed,
                                         unsigned step) {
  int row = blockIdx.x * THREADS + threadIdx.x;
  if (row < rows) out[row] = philox(seed, step, row);
}

extern "C" __global__ void sampling_draw(const Weight* __restrict__ weights, int* __restrict__ out, int vocab,
                                         unsigned long long seed, unsigned step) {
  __shared__ Weight of_warp[THREADS / 32];
  const Weight* row = weights + (size_t)blockIdx.x * vocab;
  // solve: begin
  // stub: // 1. Each thread's sum over its share of the row, and the sum of the threads before it (a scan): within its warp by
  // stub: //    __shfl_up_sync, then over the warps before it.
  // stub: // 2. A random number below the row's total: __umul64hi(bits, total). The total of 0 has no token: -1.
  // stub: // 3. The thread in whose share it falls walks that share, and stores the token.
  // stub: (void)of_warp, (void)row;
  Weight mine = 0;
  for (int i = threadIdx.x; i < vocab; i += THREADS) mine += row[i];

  Weight upto = mine;  // of this lane and those before it
  for (int distance = 1; distance < 32; distance *= 2) {
    Weight other = __shfl_up_sync(0xffffffffu, upto, distance);
    if (threadIdx.x % 32 >= distance) upto += other;
  }
  if (threadIdx.x % 32 == 31) of_warp[threadIdx.x / 32] = upto;
  __syncthreads();
  Weight before = upto - mine, total = 0;
  for (int warp = 0; warp < THREADS / 32; warp++) {
    if (warp < threadIdx.x / 32) before += of_warp[warp];
    total += of_warp[warp];
  }

  if (total == 0 && threadIdx.x == 0) out[blockIdx.x] = -1;
  Weight target = __umul64hi(philox(seed, step, blockIdx.x), total);
  if (target < before || target >= before + mine) return;
  for (int i = threadIdx.x; i < vocab; i += THREADS) {
    before += row[i];
    if (target < before) {
      out[blockIdx.x] = i;
      return;
    }
  }
  // solve: end
}
