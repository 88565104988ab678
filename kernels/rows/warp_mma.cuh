// Matrix products by one warp on tensor cores, with its numbers in registers: `ldmatrix` and `mma` of the PTX manual.
//
// The lanes of a warp hold a matrix between them. Lane 4 * g + t has
//
//   a, 16 × 16   a[0] row g, a[1] row g + 8, columns 2t and 2t + 1;   a[2], a[3] the same 8 columns on
//   b, 16 × 8    b[0] rows 2t and 2t + 1 of column g;                 b[1] the same 8 rows on
//   c, 16 × 8    c[0], c[1] row g, columns 2t and 2t + 1;             c[2], c[3] row g + 8
//
// where a and b have two 16-bit numbers in a register. So c of two products side by side is, rounded, a of the next product.
#pragma once
#include <cuda_fp16.h>

__device__ __forceinline__ unsigned as_register(__half2 pair) { return *reinterpret_cast<unsigned*>(&pair); }
__device__ __forceinline__ __half2 as_pair(unsigned bits) { return *reinterpret_cast<__half2*>(&bits); }

#ifdef __CUDA_EMU__

// What other lanes hold comes by shuffles. None of it is inlined: a hundred copies would take a minute to compile.
template <class T>
__device__ __forceinline__ T of_lane(T value, int lane) {
  return __shfl_sync(0xffffffffu, value, lane);
}

__device__ __noinline__ void load_matrices(unsigned (&to)[4], const __half* row) {
  int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  for (int n = 0; n < 4; n++) {
    const __half* of_g = of_lane(row, 8 * n + g);
    to[n] = as_register(__halves2half2(of_g[2 * t], of_g[2 * t + 1]));
  }
}

__device__ __noinline__ void load_matrices_turned(unsigned (&to)[4], const __half* row) {
  int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  for (int n = 0; n < 4; n++) {
    const __half *even = of_lane(row, 8 * n + 2 * t), *odd = of_lane(row, 8 * n + 2 * t + 1);
    to[n] = as_register(__halves2half2(even[g], odd[g]));
  }
}

__device__ __noinline__ void multiply_add(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  for (int half = 0; half < 2; half++) {
    for (int i = 0; i < 4; i++) {  // rows 8 * half + 2 * i and the next of b
      float2 above = __half22float2(as_pair(of_lane(a[2 * half], 4 * g + i)));
      float2 below = __half22float2(as_pair(of_lane(a[2 * half + 1], 4 * g + i)));
      float2 left = __half22float2(as_pair(of_lane(half ? b1 : b0, 8 * t + i)));
      float2 right = __half22float2(as_pair(of_lane(half ? b1 : b0, 8 * t + 4 + i)));
      c[0] += above.x * left.x + above.y * left.y;
      c[1] += above.x * right.x + above.y * right.y;
      c[2] += below.x * left.x + below.y * left.y;
      c[3] += below.x * right.x + below.y * right.y;
    }
  }
}

__device__ __forceinline__ float exp2_quick(float x) { return exp2f(x); }

#else

// Four matrices of 8 × 8 from shared memory. Lane 8 * n + i knows where row i of matrix n is, 16 bytes; lane 4 * g + t gets row g's
// columns 2t and 2t + 1 of each.
__device__ __forceinline__ void load_matrices(unsigned (&to)[4], const __half* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"((unsigned)__cvta_generic_to_shared(row))
               : "memory");
}

// The same, transposed: lane 4 * g + t gets column g's rows 2t and 2t + 1.
__device__ __forceinline__ void load_matrices_turned(unsigned (&to)[4], const __half* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"((unsigned)__cvta_generic_to_shared(row))
               : "memory");
}

// c += a · b
__device__ __forceinline__ void multiply_add(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// 2^x to 2 units in the last place, 0 where that is subnormal: one instruction.
__device__ __forceinline__ float exp2_quick(float x) {
  float out;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(out) : "f"(x));
  return out;
}

#endif
