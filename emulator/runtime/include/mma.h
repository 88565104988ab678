// nvcuda::wmma: warp-wide matrix multiply-add. The 32 lanes hold a fragment together. (On a GPU the layout is unspecified: a
// kernel may only treat all its elements alike. Here it is that of PTX's mma instructions, so that a load from shared memory
// has bank conflicts where it has them on hardware: in blocks of 8 x 8 elements, four lanes a line, two neighbours each.)
#pragma once
#include "cuda_bf16.h"
#include "cuda_fp16.h"

namespace nvcuda {
namespace wmma {

struct matrix_a;
struct matrix_b;
struct accumulator;
struct row_major;
struct col_major;
namespace precision {
struct tf32;
}
enum layout_t { mem_row_major, mem_col_major };

template <class T>
struct EmuElement {
  typedef T type;
};
template <>
struct EmuElement<precision::tf32> {
  typedef float type;
};
template <class Use, int M, int N, int K>
struct EmuShape {
  enum { rows = M, columns = N };
};
template <int M, int N, int K>
struct EmuShape<matrix_a, M, N, K> {
  enum { rows = M, columns = K };
};
template <int M, int N, int K>
struct EmuShape<matrix_b, M, N, K> {
  enum { rows = K, columns = N };
};

template <class T>
struct EmuIsColumnMajor {
  enum { value = 0 };
};
template <>
struct EmuIsColumnMajor<col_major> {
  enum { value = 1 };
};

template <class Use, int M, int N, int K, class T, class Layout = void>
struct fragment {
  enum {
    rows = EmuShape<Use, M, N, K>::rows,
    columns = EmuShape<Use, M, N, K>::columns,
    num_elements = rows * columns / 32,
    num_storage_elements = num_elements,
    columns_first = EmuIsColumnMajor<Layout>::value,  // a line of a block is a piece of a row, or else of a column
    blocks_along = (columns_first ? rows : columns) / 8
  };
  static_assert((M == 16 && N == 16) || (M == 32 && N == 8) || (M == 8 && N == 32), "not a shape that WMMA has");
  typename EmuElement<T>::type x[num_elements];

  EMU_INLINE int emu_across(int lane, int j) { return lane / 4 + j / 2 / blocks_along * 8; }
  EMU_INLINE int emu_along(int lane, int j) { return lane % 4 * 2 + j % 2 + j / 2 % blocks_along * 8; }
  // Where in the matrix a lane's element j stands.
  EMU_INLINE int emu_row(int lane, int j) { return columns_first ? emu_along(lane, j) : emu_across(lane, j); }
  EMU_INLINE int emu_column(int lane, int j) { return columns_first ? emu_across(lane, j) : emu_along(lane, j); }
  EMU_INLINE int emu_index(int lane, int j) { return emu_row(lane, j) * columns + emu_column(lane, j); }
};

template <class Fragment, class T>
EMU_INLINE void emu_load(Fragment& f, const T* from, unsigned stride, bool columns_first) {
  for (int j = 0; j < Fragment::num_elements; j++) {
    int row = Fragment::emu_row(emu_lane(), j), column = Fragment::emu_column(emu_lane(), j);
    f.x[j] = columns_first ? from[column * stride + row] : from[row * stride + column];
  }
}

template <class Use, int M, int N, int K, class T, class Layout, class P>
EMU_INLINE void load_matrix_sync(fragment<Use, M, N, K, T, Layout>& f, const P* from, unsigned stride, EMU_LINE) {
  __syncwarp(0xffffffffu, line);
  emu_load(f, from, stride, EmuIsColumnMajor<Layout>::value);
}
template <int M, int N, int K, class T, class P>
EMU_INLINE void load_matrix_sync(fragment<accumulator, M, N, K, T>& f, const P* from, unsigned stride, layout_t layout,
                                 EMU_LINE) {
  __syncwarp(0xffffffffu, line);
  emu_load(f, from, stride, layout == mem_col_major);
}
template <int M, int N, int K, class T, class P>
EMU_INLINE void store_matrix_sync(P* to, const fragment<accumulator, M, N, K, T>& f, unsigned stride, layout_t layout,
                                  EMU_LINE) {
  for (int j = 0; j < f.num_elements; j++) {
    int row = f.emu_row(emu_lane(), j), column = f.emu_column(emu_lane(), j);
    to[layout == mem_col_major ? column * stride + row : row * stride + column] = f.x[j];
  }
  __syncwarp(0xffffffffu, line);
}
template <class Fragment, class V>
EMU_INLINE void fill_fragment(Fragment& f, V value) {
  for (auto& element : f.x) element = value;
}

template <class A, class B, class C, class D>
struct EmuMultiply {
  D* d;
  const A* a;
  const B* b;
  const C* c;
  EMU_UNCHECKED static void run(uint64_t* lanes) {
    float a[A::rows * A::columns], b[B::rows * B::columns], c[C::rows * C::columns];
    for (int lane = 0; lane < 32; lane++) {
      const EmuMultiply* its = (const EmuMultiply*)lanes[lane];
      for (int j = 0; j < A::num_elements; j++) a[A::emu_index(lane, j)] = (float)its->a->x[j];
      for (int j = 0; j < B::num_elements; j++) b[B::emu_index(lane, j)] = (float)its->b->x[j];
      for (int j = 0; j < C::num_elements; j++) c[C::emu_index(lane, j)] = (float)its->c->x[j];
    }
    for (int row = 0; row < A::rows; row++) {
      float* sums = c + row * B::columns;
      for (int k = 0; k < A::columns; k++) {
        for (int column = 0; column < B::columns; column++)
          sums[column] += a[row * A::columns + k] * b[k * B::columns + column];
      }
    }
    for (int lane = 0; lane < 32; lane++) {
      const EmuMultiply* its = (const EmuMultiply*)lanes[lane];
      for (int j = 0; j < C::num_elements; j++) its->d->x[j] = c[C::emu_index(lane, j)];
    }
  }
};

template <int M, int N, int K, class TA, class TB, class TC, class TD, class LA, class LB>
EMU_INLINE void mma_sync(fragment<accumulator, M, N, K, TD>& d, const fragment<matrix_a, M, N, K, TA, LA>& a,
                         const fragment<matrix_b, M, N, K, TB, LB>& b, const fragment<accumulator, M, N, K, TC>& c,
                         EMU_LINE) {
  typedef EmuMultiply<fragment<matrix_a, M, N, K, TA, LA>, fragment<matrix_b, M, N, K, TB, LB>,
                      fragment<accumulator, M, N, K, TC>, fragment<accumulator, M, N, K, TD>>
      Multiply;
  Multiply mine = {&d, &a, &b, &c};
  emu_collective_call(Multiply::run, (uint64_t)&mine, line);
}

EMU_INLINE float __float_to_tf32(float f) { return __uint_as_float((__float_as_uint(f) + 0x1000) & 0xffffe000u); }

}  // namespace wmma
}  // namespace nvcuda
