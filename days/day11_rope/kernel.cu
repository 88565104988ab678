// Rotary position embedding (Su et al., 2021, section 3.2.2): in each head the pair of numbers i and i + half is turned by
// the angle positions[t] * frequencies[i].
//
//   out[i]        = x[i] * cos - x[i + half] * sin
//   out[i + half] = x[i + half] * cos + x[i] * sin
//
// One block for each token. All its heads turn by the same angles, so the block computes each sine and cosine once.
//
//   x, out        [tokens, heads, 2 * half]
//   positions     [tokens], whole numbers that float32 represents: up to 2^24
//   frequencies   [half], radians a position
//   grid          tokens blocks                  block: THREADS threads
//   shared        2 * half floats

#ifndef THREADS
#define THREADS 256
#endif

extern "C" __global__ void rope(const float* __restrict__ x, const int* __restrict__ positions,
                                const float* __restrict__ frequencies, float* __restrict__ out, int heads, int half) {
  extern __shared__ float table[];  // as long as the launch says: `half` cosines, then `half` sines
  float* cosines = table;
  float* sines = table + half;
  // 1. The block's threads fill the table: angle i is the token's position times frequency i, as a float32 product.
  // 2. Find this block's token in x and in out. Tokens times their numbers can pass 2^31: the offset is a size_t.
  // 3. The token has heads * half pairs. Each thread turns its share of them, neighbours side by side.
  (void)cosines, (void)sines;
}
