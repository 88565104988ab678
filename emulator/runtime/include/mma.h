// nvcuda::wmma: warp-wide matrix multiply-add. The 32 lanes hold a fragment together: element i lies in lane
// i % 32. (On a GPU the layout is unspecified too: a kernel may only treat all its elements alike.)
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

template <class Use, int M, int N, int K, class T, class Layout = void>
struct fragment {
  enum {
    rows = EmuShape<Use, M, N, K>::rows,
    columns = EmuShape<Use, M, N, K>::columns,
    num_elements = rows * columns / 32,
    num_storage_elements = num_elements
  };
  static_assert((M == 16 && N == 16) || (M == 32 && N == 8) || (M == 8 && N == 32), "not a shape that WMMA has");
  typename EmuElement<T>::type x[num_elements];
};

template <class Fragment, class T>
EMU_INLINE void emu_load(Fragment& f, const T* from, unsigned stride, bool columns_first) {
  for (int j = 0; j < Fragment::num_elements; j++) {
    int i = j * 32 + emu_lane(), row = i / Fragment::columns, column = i % Fragment::columns;
    f.x[j] = columns_first ? from[column * stride + row] : from[row * stride + column];
  }
}
template <class T>
struct EmuIsColumnMajor {
  enum { value = 0 };
};
template <>
struct EmuIsColumnMajor<col_major> {
  enum { value = 1 };
};

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
    int i = j * 32 + emu_lane(), row = i / N, column = i % N;
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
    auto lane = [&](int i) EMU_UNCHECKED { return (EmuMultiply*)lanes[i % 32]; };
    float a[A::rows * A::columns], b[B::rows * B::columns], c[C::rows * C::columns];
    for (int i = 0; i < A::rows * A::columns; i++) a[i] = (float)lane(i)->a->x[i / 32];
    for (int i = 0; i < B::rows * B::columns; i++) b[i] = (float)lane(i)->b->x[i / 32];
    for (int i = 0; i < C::rows * C::columns; i++) c[i] = (float)lane(i)->c->x[i / 32];
    for (int row = 0; row < A::rows; row++) {
      float* sums = c + row * B::columns;
      for (int k = 0; k < A::columns; k++) {
        for (int column = 0; column < B::columns; column++)
          sums[column] += a[row * A::columns + k] * b[k * B::columns + column];
      }
    }
    for (int i = 0; i < C::rows * C::columns; i++) lane(i)->d->x[i / 32] = c[i];
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
