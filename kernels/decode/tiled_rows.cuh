// The rows of a matrix that one block multiplies with a vector: tile after tile out of a ring, each by one warp, on tensor cores.
//
// Matrices come laid out for that (engine/fused/tiles.py): groups of eight rows; of each group step after step, 64 bytes of each row; of
// each step the 16 bytes of lane 0, 1, … of a warp. Behind the last row and the last column there are zeros. So a tile, some steps of a
// group, is memory in one piece, and lanes load it as it lies:
//
//   group   │ step 0 │ step 1 │ … │ step 15 ║ step 16 │ …          a tile: SEGMENT_BYTES of each row at most
//   step    │ row 0: 4 × 16 bytes │ row 1 │ … │ row 7 │
//
// Groups are dealt like cards, over all matrices of a step: to block after block, and the next matrix goes on where the
// last one ended. So all blocks have as much as each other, and what they ask for at one time lies side by side in memory, which is
// faster to read than a place of its own for each of them. A block's warps take its tiles in turn. A tile's sums go to shared memory;
// after a barrier one thread for each row adds up those of its segments.
#pragma once
#include "grid_barrier.cuh"
#include "tensor_core.cuh"
#include "tile_ring.cuh"
#include "warp_sum.cuh"

#ifndef BLOCKS
#define BLOCKS 132  // of the grid; known when this is compiled, so that whose rows are whose costs no division
#endif
#ifndef SEGMENT_BYTES
#define SEGMENT_BYTES 1024
#endif
constexpr int TILE_ROWS = 8;
constexpr int PARTIALS = 1024;  // sums of tiles that are kept until a thread adds them up

template <int COLUMNS>
struct RowLayout {
  static_assert(COLUMNS % Weight::EACH == 0, "a row is a whole number of 16-byte vectors");
  static constexpr int ROW_BYTES = COLUMNS / Weight::EACH * 16, ROW_STEPS = (ROW_BYTES + STEP_BYTES - 1) / STEP_BYTES;
  static constexpr int MOST = SEGMENT_BYTES / STEP_BYTES, TILES = (ROW_STEPS + MOST - 1) / MOST;
  static constexpr int STEPS = (ROW_STEPS + TILES - 1) / TILES;     // of a segment
  static constexpr int SEGMENTS = (ROW_STEPS + STEPS - 1) / STEPS;  // may be one less than TILES
  static constexpr int TILE_BYTES = STEPS * STEP_VECTORS * 16;
  static constexpr int STAGED_BYTES = 4 * ROW_STEPS * Parts<Weight>::STEP_WORDS;

  // Of the last one there may be fewer.
  static __device__ __forceinline__ int steps_of(int segment) { return min(STEPS, ROW_STEPS - segment * STEPS); }
};

// The block's activations, taken apart, in shared memory.
template <int COLUMNS>
struct Activations : RowLayout<COLUMNS> {
  using Layout = RowLayout<COLUMNS>;
  const unsigned* parts;
  float scale = 1.0f;  // of all of them

  // By all workers. It ends with a barrier.
  //
  //   load(i, fours)   fours[n] = numbers 4 · i[n] to 4 · i[n] + 3; nothing is asked for where i[n] < 0
  //   staged           shared memory, STAGED_BYTES
  //   largest          shared memory, a number for each warp
  template <class Load>
  __device__ __forceinline__ Activations(unsigned* staged, unsigned* largest, Load load) : parts(staged) {
    constexpr int FOURS = COLUMNS / 4, EACH = (FOURS + THREADS - 1) / THREADS;
    int i[EACH];
    float4 fours[EACH];
#pragma unroll
    for (int n = 0; n < EACH; n++) {
      i[n] = n * THREADS + (int)threadIdx.x;
      if (i[n] >= FOURS) i[n] = -1;
    }
    load(i, fours);
    if constexpr (Parts<Weight>::NEEDS_SCALE) {
      // Without their signs, floats are ordered like their bits, with infinity and NaN above all numbers.
      auto bits = [](float v) { return __float_as_uint(v) & 0x7fffffffu; };
      unsigned most = 0;
#pragma unroll
      for (int n = 0; n < EACH; n++) {
        float4 v = fours[n];
        if (i[n] >= 0) most = max(most, max(max(bits(v.x), bits(v.y)), max(bits(v.z), bits(v.w))));
      }
      most = __reduce_max_sync(0xffffffffu, most);
      if (threadIdx.x % 32 == 0) largest[threadIdx.x / 32] = most;
      sync_workers();
#pragma unroll
      for (int warp = 0; warp < WARPS; warp++) most = max(most, largest[warp]);
      scale = Parts<Weight>::scale(__uint_as_float(most));
    }
#pragma unroll
    for (int n = 0; n < EACH; n++) {
      if (i[n] >= 0) Parts<Weight>::store(fours[n], scale, staged, i[n]);
    }
    // Behind the last column, up to the end of a step: zeros.
    constexpr int WORDS = Layout::ROW_BYTES / 4, BEHIND = Layout::ROW_STEPS * 16 - WORDS;
    if ((int)threadIdx.x < BEHIND) {
      for (int part = 0; part < Parts<Weight>::COUNT; part++) staged[place_of<Weight>(part, WORDS + threadIdx.x)] = 0;
    }
    sync_workers();
  }

  // One tile's sums: each lane gets that of row lane / 4. It calls done() when it needs the tile no more.
  template <class Done>
  __device__ __forceinline__ float multiply(const uint4* tile, int segment, Done done) const {
    constexpr bool EVEN = Layout::ROW_STEPS % Layout::STEPS == 0;
    EightSums<Weight> sums;
    const uint4* weights = tile + threadIdx.x % 32;
    const unsigned* x = parts + segment * (Layout::STEPS * Parts<Weight>::STEP_WORDS);
    int steps = Layout::steps_of(segment);
#pragma unroll 2
    for (int first = 0; first < Layout::STEPS; first += CHAINS) {
#pragma unroll
      for (int chain = 0; chain < CHAINS; chain++) {
        int step = first + chain;
        if (step < Layout::STEPS && (EVEN || step < steps)) {
          sums.add(chain, weights[step * STEP_VECTORS], x + step * Parts<Weight>::STEP_WORDS);
        }
      }
    }
    done();
    return sums.of_row() * scale;
  }
};

#if BULK_COPIES
// What a block asks for of a matrix; numbers, not types, so that one loop is enough for all matrices.
struct Tiles {
  const uint4* first;
  int groups, row_steps, segments, steps;

  __device__ __forceinline__ void ask(TileRing& ring, unsigned long long policy) const {
    const uint4* group = first;
#pragma unroll 1
    for (int number = 0; number < groups; number++, group += (size_t)BLOCKS * row_steps * STEP_VECTORS) {
#pragma unroll 1
      for (int segment = 0; segment < segments; segment++) {
        int step = segment * steps;
        ring.ask(group + step * STEP_VECTORS, min(steps, row_steps - step) * (STEP_VECTORS * 16), policy);
      }
    }
  }
};
#endif

// This block's share of a matrix of ROWS rows, in units of UNIT neighbours that one thread finishes together.
template <int ROWS, int UNIT, int COLUMNS>
struct TiledRows : RowLayout<COLUMNS> {
  using Layout = RowLayout<COLUMNS>;
  using Layout::SEGMENTS;
  static_assert(ROWS % UNIT == 0 && TILE_ROWS % UNIT == 0, "whole units");
  static constexpr int GROUPS = (ROWS + TILE_ROWS - 1) / TILE_ROWS, UNITS = TILE_ROWS / UNIT;
  static constexpr int MOST_GROUPS = PARTIALS / (TILE_ROWS * (SEGMENTS | 1)), MOST_FINISHED = THREADS / UNITS;
  static constexpr int CHUNK =
      MOST_GROUPS < MOST_FINISHED ? MOST_GROUPS : MOST_FINISHED;  // groups between two barriers
  static_assert(CHUNK > 0, "a chunk is a group of rows at least");
  static constexpr size_t VECTORS = (size_t)GROUPS * Layout::ROW_STEPS * STEP_VECTORS;  // of the whole matrix
  static constexpr int SHARES = GROUPS < BLOCKS ? GROUPS : BLOCKS;                      // blocks that have rows

  int first, count;  // this block's groups: every BLOCKS-th

  // `dealt` is how many groups were dealt before, modulo the number of blocks, and goes on.
  __device__ __forceinline__ explicit TiledRows(int& dealt) {
    first = (int)blockIdx.x - dealt;
    if (first < 0) first += BLOCKS;
    count = GROUPS / BLOCKS + (first < GROUPS % BLOCKS);
    dealt = (dealt + GROUPS) % BLOCKS;
  }

#if BULK_COPIES
  __device__ __forceinline__ Tiles tiles(const uint4* weights) const {
    return {tile_of(weights, 0, 0), count, Layout::ROW_STEPS, SEGMENTS, Layout::STEPS};
  }
#endif

  // What a thread needs to finish its first unit, and can ask for before it has any product: before(unit), or before(-1).
  template <class Before>
  __device__ __forceinline__ auto known(Before before) const {
    return before(unit_of(0));
  }

  // Multiply the block's rows.
  //
  //   partials                   shared memory
  //   given                      known(before)
  //   before                     the same for the other units of a thread, if it has several
  //   done(unit, sums, known)    the products of the unit's rows, and what `before` gave; by the unit's thread
  template <class Known, class Before, class Done>
  __device__ __forceinline__ void multiply(TileRing& ring, float (&partials)[2][PARTIALS], const uint4* weights,
                                           const Activations<COLUMNS>& x, Known given, Before before, Done done) const {
    constexpr int APART = SEGMENTS | 1;  // sums of a row's segments, and one more where that helps the banks
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, buffer = 0;
    workers_wait(false);
    for (int chunk = 0; chunk < count; chunk += CHUNK) {
      int tiles = min(CHUNK, count - chunk) * SEGMENTS, mine = unit_of(chunk);
      if (chunk > 0) given = before(mine);
      TileRing next = ring;  // of this warp
      next.skip(warp);
      for (int tile = warp; tile < tiles; tile += WARPS) {
        int group = tile / SEGMENTS, segment = tile % SEGMENTS;
        const uint4* there = next.wait(tile_of(weights, chunk + group, segment));
        float sum = x.multiply(there, segment, [&] { next.release(); });
        next.skip(WARPS);
        if (lane % 4 == 0) partials[buffer][(group * TILE_ROWS + lane / 4) * APART + segment] = sum;
      }
      ring.skip(tiles);
      sync_workers();
      if (mine >= 0) {
        float products[UNIT] = {};
#pragma unroll
        for (int i = 0; i < UNIT; i++) {
          const float* of_row = partials[buffer] + (threadIdx.x * UNIT + i) * APART;
#pragma unroll
          for (int segment = 0; segment < SEGMENTS; segment++) products[i] += of_row[segment];
        }
        done(mine, products, given);
      }
      buffer ^= 1;  // before its turn comes again there is another barrier
    }
    workers_wait(true);
  }

 private:
  __device__ __forceinline__ const uint4* tile_of(const uint4* weights, int group, int segment) const {
    size_t step = (size_t)(first + group * BLOCKS) * Layout::ROW_STEPS + segment * Layout::STEPS;
    return weights + step * STEP_VECTORS;
  }
  // The unit that this thread finishes, of a chunk that begins at a group of the block's; or -1.
  __device__ __forceinline__ int unit_of(int chunk) const {
    int group = threadIdx.x / UNITS, unit = (first + (chunk + group) * BLOCKS) * UNITS + threadIdx.x % UNITS;
    return group < min(CHUNK, count - chunk) && unit < ROWS / UNIT ? unit : -1;
  }
};
