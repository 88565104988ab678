// The rows of a matrix that one block multiplies with a vector: tile after tile out of a ring, each by one warp, on tensor cores.
//
// A tile is eight rows, or of wide rows a segment of each:
//
//   row 0   ├ segment 0 ┤├ segment 1 ┤ …       at most SEGMENT_BYTES each
//     ⋮          tile 0       tile 1
//   row 7   ├───────────┤├───────────┤
//
// Groups of eight rows are dealt like cards, over all matrices of a step: to block after block, and the next matrix goes on where the
// last one ended. So all blocks have as much as each other, and what they ask for at one time lies side by side in memory, which is
// faster to read than a place of its own for each of them. A block's warps take its tiles in turn. A tile's sums go to shared memory;
// after a barrier one thread for each row adds up those of its segments.
#pragma once
#include "block_reduce.cuh"  // day 6: Max, which keeps a NaN
#include "grid_barrier.cuh"
#include "tensor_core.cuh"
#include "tile_ring.cuh"
#include "warp_sum.cuh"

#ifndef SEGMENT_BYTES
#define SEGMENT_BYTES 2048
#endif
constexpr int TILE_ROWS = 8;
constexpr int PARTIALS = 1024;  // sums of tiles that are kept until a thread adds them up

template <int COLUMNS>
struct RowLayout {
  static_assert(COLUMNS % Weight::EACH == 0, "a row is a whole number of 16-byte vectors");
  static constexpr int ROW_BYTES = COLUMNS / Weight::EACH * 16;
  static constexpr int SEGMENTS = (ROW_BYTES + SEGMENT_BYTES - 1) / SEGMENT_BYTES;
  static constexpr int STEPS = (ROW_BYTES + SEGMENTS * STEP_BYTES - 1) / (SEGMENTS * STEP_BYTES);  // of a segment
  static constexpr int PITCH = STEPS * STEP_BYTES, TILE_BYTES = TILE_ROWS * PITCH;
  // A part of the activations; neighbours begin in other banks of shared memory.
  static constexpr int PART_BYTES = (SEGMENTS * STEPS | 1) * STEP_BYTES;
  static constexpr int STAGED_BYTES = Parts<Weight>::COUNT * PART_BYTES;

  static __device__ __forceinline__ int bytes_of(int segment) { return min(PITCH, ROW_BYTES - segment * PITCH); }
};

// The block's activations, taken apart, in shared memory.
template <int COLUMNS>
struct Activations : RowLayout<COLUMNS> {
  using Layout = RowLayout<COLUMNS>;
  const char* parts;
  float scale = 1.0f;  // of all of them

  // By all workers. It ends with a barrier.
  //
  //   load(i, fours)   fours[n] = numbers 4 · i[n] to 4 · i[n] + 3; nothing is asked for where i[n] < 0
  //   staged           shared memory, STAGED_BYTES
  //   largest          shared memory, a number for each warp
  template <class Load>
  __device__ __forceinline__ Activations(char* staged, float* largest, Load load) : parts(staged) {
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
      float most = 0.0f;
#pragma unroll
      for (int n = 0; n < EACH; n++) {
        float4 v = fours[n];
        if (i[n] < 0) continue;
        float ends = Max::combine(fabsf(v.x), fabsf(v.w)), inside = Max::combine(fabsf(v.y), fabsf(v.z));
        most = Max::combine(most, Max::combine(ends, inside));
      }
      for (int distance = 16; distance > 0; distance /= 2) {
        most = Max::combine(most, __shfl_xor_sync(0xffffffffu, most, distance));
      }
      if (threadIdx.x % 32 == 0) largest[threadIdx.x / 32] = most;
      sync_workers();
#pragma unroll
      for (int warp = 0; warp < WARPS; warp++) most = Max::combine(most, largest[warp]);
      scale = Parts<Weight>::scale(most);
    }
#pragma unroll
    for (int n = 0; n < EACH; n++) {
      if (i[n] >= 0) Parts<Weight>::store(fours[n], scale, staged, i[n], Layout::PART_BYTES);
    }
    // Behind the last column, up to the end of a step: zeros.
    constexpr int BEHIND = Layout::SEGMENTS * Layout::PITCH - Layout::ROW_BYTES;
    for (int part = 0; BEHIND > 0 && part < Parts<Weight>::COUNT; part++) {
      for (int at = 16 * threadIdx.x; at < BEHIND; at += 16 * THREADS) {
        *reinterpret_cast<uint4*>(staged + part * Layout::PART_BYTES + Layout::ROW_BYTES + at) = make_uint4(0, 0, 0, 0);
      }
    }
    sync_workers();
  }

  // One tile's sums: lane l gets that of row l % 8.
  __device__ __forceinline__ float multiply(const char* tile, int segment, int rows, int pitch) const {
    EightSums<Weight> sums;
    int lane = threadIdx.x % 32, row = lane / 4, bytes = Layout::bytes_of(segment);
    const char* x = parts + segment * Layout::PITCH;
    auto weights = [&](int at) {
      bool there = Layout::ROW_BYTES % (Layout::SEGMENTS * STEP_BYTES) == 0 || at < bytes;
#if !BULK_COPIES
      there = at < bytes && row < rows;  // behind it is somebody else's memory
#endif
      return there ? *reinterpret_cast<const uint4*>(tile + row * pitch + at) : make_uint4(0, 0, 0, 0);
    };
#pragma unroll 2
    for (int first = 0; first < Layout::STEPS; first += CHAINS) {
#pragma unroll
      for (int chain = 0; chain < CHAINS; chain++) {
        int at = (first + chain) * STEP_BYTES + lane % 4 * 16;
        if (first + chain < Layout::STEPS) sums.add(chain, weights(at), x + at, Layout::PART_BYTES);
      }
    }
    return sums.of_row() * scale;
  }
};

// A matrix of ROWS rows, in units of UNIT neighbours that one thread finishes together.
template <int ROWS, int UNIT, int COLUMNS>
struct TiledRows : RowLayout<COLUMNS> {
  using Layout = RowLayout<COLUMNS>;
  using Layout::PITCH;
  using Layout::ROW_BYTES;
  using Layout::SEGMENTS;
  static_assert(ROWS % UNIT == 0 && TILE_ROWS % UNIT == 0, "whole units");
  static constexpr int GROUPS = (ROWS + TILE_ROWS - 1) / TILE_ROWS, UNITS = TILE_ROWS / UNIT;
  static constexpr int MOST_GROUPS = PARTIALS / (TILE_ROWS * (SEGMENTS | 1)), MOST_FINISHED = THREADS / UNITS;
  static constexpr int CHUNK =
      MOST_GROUPS < MOST_FINISHED ? MOST_GROUPS : MOST_FINISHED;  // groups between two barriers
  static_assert(CHUNK > 0, "a chunk is a group of rows at least");

  // How many blocks have rows: the first `dealt` deals to.
  static __device__ __forceinline__ int blocks() { return min((int)gridDim.x, GROUPS); }
  // Whether this block has.
  static __device__ __forceinline__ bool has_rows(int dealt) { return first_group(dealt) < GROUPS; }
  static __device__ __forceinline__ void skip(int& dealt) { first_group(dealt); }

  // The first of this block's groups; `dealt` is how many were dealt before, modulo the number of blocks, and goes on.
  static __device__ __forceinline__ int first_group(int& dealt) {
    int blocks = gridDim.x, first = (int)blockIdx.x - dealt;
    dealt = (dealt + GROUPS) % blocks;
    return first < 0 ? first + blocks : first;
  }

#if BULK_COPIES
  // Ask for all of this block's tiles, by a warp: a lane for each row.
  static __device__ __forceinline__ void ask(TileRing& ring, int& dealt, const Weight::Element* weights,
                                             unsigned long long policy) {
    int lane = threadIdx.x % 32;
    for (int group = first_group(dealt); group < GROUPS; group += gridDim.x) {
      int rows = min(TILE_ROWS, ROWS - group * TILE_ROWS);
      const char* from = reinterpret_cast<const char*>(weights) + ((size_t)group * TILE_ROWS + lane) * ROW_BYTES;
      for (int segment = 0; segment < SEGMENTS; segment++) {
        int bytes = Layout::bytes_of(segment);
        ring.ask(lane < rows, lane * PITCH, from + segment * PITCH, bytes, rows * bytes, policy);
      }
    }
  }
#endif

  // Multiply this block's rows.
  //
  //   partials                   shared memory
  //   before(unit)               called for each unit, by the thread that will finish it, ahead of the products; -1 for none
  //   done(unit, sums, known)    the products of the unit's rows, and what `before` gave
  template <class Before, class Done>
  static __device__ __forceinline__ void multiply(TileRing& ring, int& dealt, float (&partials)[2][PARTIALS],
                                                  const Weight::Element* weights, const Activations<COLUMNS>& x,
                                                  Before before, Done done) {
    constexpr int APART = SEGMENTS | 1;  // sums of a row's segments, and one more where that helps the banks
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, buffer = 0;
    int first = first_group(dealt), count = first < GROUPS ? (GROUPS - first - 1) / gridDim.x + 1 : 0;
    for (int chunk = 0; chunk < count; chunk += CHUNK) {
      int groups = min(CHUNK, count - chunk), tiles = groups * SEGMENTS;
      auto number_of = [&](int group) { return first + (chunk + group) * (int)gridDim.x; };  // among all of the matrix
      int of_group = threadIdx.x / UNITS, mine = number_of(of_group) * UNITS + threadIdx.x % UNITS;
      bool finishes = of_group < groups && mine < ROWS / UNIT;
      auto known = before(finishes ? mine : -1);
      TileRing next = ring;  // of this warp
      next.skip(warp);
      for (int tile = warp; tile < tiles; tile += WARPS) {
        int group = tile / SEGMENTS, segment = tile % SEGMENTS, row = number_of(group) * TILE_ROWS;
        const char* data = reinterpret_cast<const char*>(weights) + (size_t)row * ROW_BYTES + segment * PITCH;
        float sum = x.multiply(next.wait(data), segment, ROWS - row, next.pitch(PITCH, ROW_BYTES));
        next.release();
        next.skip(WARPS);
        if (lane < TILE_ROWS) partials[buffer][(group * TILE_ROWS + lane) * APART + segment] = sum;
      }
      ring.skip(tiles);
      sync_workers();
      if (finishes) {
        float products[UNIT] = {};
#pragma unroll
        for (int i = 0; i < UNIT; i++) {
          const float* of_row = partials[buffer] + (threadIdx.x * UNIT + i) * APART;
#pragma unroll
          for (int segment = 0; segment < SEGMENTS; segment++) products[i] += of_row[segment];
        }
        done(mine, products, known);
      }
      buffer ^= 1;  // before its turn comes again there is another barrier
    }
  }
};
