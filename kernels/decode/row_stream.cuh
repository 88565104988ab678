// The rows of a matrix that one warp multiplies with a vector, as one long stream: of weights, through a ring in shared memory.
//
// A step reads every weight once, so it is as fast as they come. What keeps memory busy is bytes on their way: bandwidth
// times latency, tens of kilobytes for each multiprocessor. Each lane has a ring of 16-byte vectors to itself, asks for as
// many as fit, and refills each group of them as soon as it has used it, across the ends of rows. What a lane asks for it
// reads itself: no barrier is needed.
//
// Rows come in units of ROWS neighbours, which are multiplied side by side: an activation is read from shared memory once for all
// of them. A warp has units first, first + stride, first + 2 · stride, …
//
//   row 0    ├ lane 0 ┤├ lane 1 ┤ … ├ lane 31 ┤├ lane 0 ┤ …      16 bytes each
//   row 1    ├ lane 0 ┤├ lane 1 ┤ … ├ lane 31 ┤├ lane 0 ┤ …
//   a group  vectors 0 to GROUP - 1 of each of the unit's rows, then the next GROUP
//   ring     PLACES for groups: one is used while the others are on their way
#pragma once
#include "async_copy.cuh"
#include "block_reduce.cuh"  // day 6
#include "vectors.cuh"
#include "warp_sums.cuh"

// Vectors of a group: the largest number up to four that divides those which a lane has of a row.
__host__ __device__ constexpr int group_of(int vectors) {
  return vectors % 4 == 0 ? 4 : vectors % 3 == 0 ? 3 : vectors % 2 == 0 ? 2 : 1;
}

template <int COLUMNS, int ROWS, int PLACES>
struct RowStream {
  static_assert(COLUMNS % Weight::EACH == 0, "a row is a whole number of 16-byte vectors");
  static_assert(ROWS == 1 || ROWS == 2 || ROWS == 4, "four_sums adds up four rows");
  static constexpr int VECTORS = COLUMNS / Weight::EACH;  // of a row
  static constexpr int PER_LANE = (VECTORS + 31) / 32;    // of a row; the last lanes may have one less
  static constexpr int GROUP = group_of(PER_LANE);
  static constexpr int GROUPS = PER_LANE / GROUP;            // of a row
  static constexpr int BYTES = PLACES * ROWS * GROUP * 512;  // of shared memory, for a warp

  const uint4* weights;
  uint4* ring;  // this lane's first vector; the next is 32 further on
  int units, stride, lane;
  int ahead_unit, ahead_group = 0, ahead_place = 0;  // what to ask for next, and the place in the ring where it goes
  int place = 0;                                     // in the ring, of what to use next

  // Args: the matrix, [units · ROWS, COLUMNS]; the warp's shared memory; its first unit, and how far apart its units are.
  __device__ __forceinline__ RowStream(const Weight::Element* matrix, uint4* shared, int units, int first, int stride)
      : weights(reinterpret_cast<const uint4*>(matrix)),
        ring(shared + threadIdx.x % 32),
        units(units),
        stride(stride),
        lane(threadIdx.x % 32),
        ahead_unit(first) {}

  static __device__ __forceinline__ int after(int place) { return place + 1 == PLACES ? 0 : place + 1; }
  __device__ __forceinline__ uint4* slot(int place, int row, int v) const {
    return ring + ((place * ROWS + row) * GROUP + v) * 32;
  }

  // Whether this lane has that vector of a row.
  __device__ __forceinline__ bool has(int vector) const { return VECTORS % 32 == 0 || vector * 32 + lane < VECTORS; }

  // Ask for the next group; past the last unit for nothing, so that groups can be counted.
  __device__ __forceinline__ void ask() {
    if (ahead_unit < units) {
      const uint4* from = weights + (size_t)ahead_unit * (ROWS * VECTORS) + ahead_group * (GROUP * 32) + lane;
#pragma unroll
      for (int row = 0; row < ROWS; row++) {
#pragma unroll
        for (int v = 0; v < GROUP; v++) {
          if (has(ahead_group * GROUP + v)) copy16(slot(ahead_place, row, v), from + row * VECTORS + v * 32);
        }
      }
      ahead_place = after(ahead_place);
      if (++ahead_group == GROUPS) {
        ahead_group = 0;
        ahead_unit += stride;
      }
    }
    end_group();
  }

  // Ask for all that the ring has room for.
  __device__ __forceinline__ void start() {
    for (int group = 0; group < PLACES; group++) ask();
  }

  // The products of the next unit's rows with x: this lane's share of each sum.
  //
  //   x   COLUMNS activations in shared memory: see `stage`
  __device__ __forceinline__ void dot(const Weight::Plane* x, float* shares) {
    typename Weight::Sum sums[ROWS];
#pragma unroll 1
    for (int group = 0; group < GROUPS; group++) {
      wait_for_group<PLACES - 1>();
#pragma unroll
      for (int v = 0; v < GROUP; v++) {
        int vector = group * GROUP + v;
        bool mine = has(vector);  // lanes without one add nothing, but take part
        Weight::Plane of_x[Weight::PLANES] = {};
#pragma unroll
        for (int plane = 0; mine && plane < Weight::PLANES; plane++)
          of_x[plane] = x[plane * VECTORS + vector * 32 + lane];
#pragma unroll
        for (int row = 0; row < ROWS; row++) {
          sums[row].add(mine ? *slot(place, row, v) : make_uint4(0, 0, 0, 0), of_x);
        }
      }
      place = after(place);
      ask();
    }
#pragma unroll
    for (int row = 0; row < ROWS; row++) shares[row] = sums[row].of_lane();
  }
};

// Activations on their way into shared memory. All threads of the block call it; it ends with a barrier.
//
//   fours    of each thread: numbers 4 · i to 4 · i + 3, i = threadIdx.x, then THREADS further on, …
//   largest  shared memory, a float for each warp
//
// Returns: the scale of the products, 1 for bfloat16 weights.
template <int COLUMNS, int THREADS, int EACH>
__device__ __forceinline__ float stage(const float4 (&fours)[EACH], Weight::Plane* x, float* largest) {
  float scale = 1.0f;
  if constexpr (Weight::SCALED) {
    float most = 0.0f;
#pragma unroll
    for (int n = 0; n < EACH; n++) {
      float4 v = fours[n];
      if (n * THREADS + threadIdx.x >= COLUMNS / 4) break;
      most = fmaxf(fmaxf(most, fmaxf(fabsf(v.x), fabsf(v.y))), fmaxf(fabsf(v.z), fabsf(v.w)));
    }
    scale = power_above(block_reduce<Max>(most, largest));
  }
#pragma unroll
  for (int n = 0; n < EACH; n++) {
    int i = n * THREADS + threadIdx.x;
    if (i < COLUMNS / 4) Weight::store(fours[n], scale, x, i, COLUMNS / Weight::EACH);
  }
  __syncthreads();
  return scale;
}

// All rows of a warp, four at a time: before(row), then their products, times `scale`, then done(row, product, what `before` gave). One lane of
// eight has a row: of four rows, lanes 0 to 7 have the first, lanes 8 to 15 the second, and so on. The other lanes call both with
// row -1, because they may shuffle.
template <int COLUMNS, int ROWS, int PLACES, class Before, class Done>
__device__ __forceinline__ void each_row(RowStream<COLUMNS, ROWS, PLACES>& stream, const Weight::Plane* x, float scale,
                                         int first, Before before, Done done) {
  constexpr int TOGETHER = 4 / ROWS;  // units
  for (int unit = first; unit < stream.units; unit += TOGETHER * stream.stride) {
    int mine = threadIdx.x % 32 / 8, of_unit = unit + mine / ROWS * stream.stride;
    int row = of_unit < stream.units && threadIdx.x % 8 == 0 ? of_unit * ROWS + mine % ROWS : -1;
    float known = before(row);
    float sums[4] = {};
#pragma unroll
    for (int i = 0; i < TOGETHER; i++) {
      if (unit + i * stream.stride < stream.units) stream.dot(x, sums + i * ROWS);
    }
    done(row, four_sums(sums) * scale, known);
  }
}

// A row's old number, asked for before its product: it is there when the product is.
struct Old {
  const float* of;
  __device__ __forceinline__ float operator()(int row) const { return row >= 0 ? __ldcg(of + row) : 0.0f; }
};
struct Nothing {
  __device__ __forceinline__ float operator()(int) const { return 0.0f; }
};
