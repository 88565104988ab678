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
#include "vectors.cuh"

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
  //   x   COLUMNS activations in shared memory, in the order of `staged`
  __device__ __forceinline__ void dot(const float4* x, float* sums) {
#pragma unroll
    for (int row = 0; row < ROWS; row++) sums[row] = 0.0f;
#pragma unroll 1
    for (int group = 0; group < GROUPS; group++) {
      wait_for_group<PLACES - 1>();
#pragma unroll
      for (int v = 0; v < GROUP; v++) {
        int vector = group * GROUP + v;
        if (!has(vector)) continue;
        float4 of_x[Weight::EACH / 4];
#pragma unroll
        for (int four = 0; four < Weight::EACH / 4; four++) of_x[four] = x[four * VECTORS + vector * 32 + lane];
#pragma unroll
        for (int row = 0; row < ROWS; row++) sums[row] += Weight::dot(*slot(place, row, v), of_x);
      }
      place = after(place);
      ask();
    }
  }
};

// Where four activations go, numbers 4 · i to 4 · i + 3, in float4: first all vectors' first four, then all second fours. A warp
// reads neighbouring float4 then, which share no bank; side by side, every lane would skip some.
template <int COLUMNS>
__device__ __forceinline__ int staged(int i) {
  constexpr int PLANES = Weight::EACH / 4, VECTORS = COLUMNS / Weight::EACH;
  return i % PLANES * VECTORS + i / PLANES;
}

// The sums over a warp of four numbers a lane, in six shuffles and not twenty: lane l gets that of number l / 8.
__device__ __forceinline__ float four_sums(const float (&of)[4]) {
  bool high = threadIdx.x & 16, odd = threadIdx.x & 8;  // half of the lanes go on with 0 and 1, the others with 2 and 3
  float first = high ? of[2] : of[0], second = high ? of[3] : of[1];
  first += __shfl_xor_sync(0xffffffffu, high ? of[0] : of[2], 16);
  second += __shfl_xor_sync(0xffffffffu, high ? of[1] : of[3], 16);
  float sum = odd ? second : first;
  sum += __shfl_xor_sync(0xffffffffu, odd ? first : second, 8);
  for (int distance = 4; distance > 0; distance /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, distance);
  return sum;
}

// All rows of a warp, four at a time: before(row), then their products, then done(row, product, what `before` gave). One lane of
// eight has a row: of four rows, lanes 0 to 7 have the first, lanes 8 to 15 the second, and so on. The other lanes call both with
// row -1, because they may shuffle.
template <int COLUMNS, int ROWS, int PLACES, class Before, class Done>
__device__ __forceinline__ void each_row(RowStream<COLUMNS, ROWS, PLACES>& stream, const float4* x, int first,
                                         Before before, Done done) {
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
    done(row, four_sums(sums), known);
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
