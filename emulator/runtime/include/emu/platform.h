// CUDA's qualifiers and built-in macros, as a host compiler can take them.
#pragma once
#include <math.h>
#include <stddef.h>
#include <stdint.h>

#define __CUDA_ARCH__ 900
#define __CUDA_EMU__ 1  // a kernel may keep a plain C++ path under this where its GPU path is inline PTX

#define __device__
#define __host__
#define __constant__
#define __managed__
#define __grid_constant__
#define __launch_bounds__(...)
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(n) __attribute__((aligned(n)))
#define __builtin_align__(n) __align__(n)

#define EMU_API __attribute__((visibility("default")))
#define EMU_INLINE static inline __attribute__((always_inline))
#define EMU_FUNCTION static inline
// Not part of the kernel: its accesses are not looked at.
#ifdef __clang__
#define EMU_UNCHECKED __attribute__((no_sanitize("thread"), disable_sanitizer_instrumentation))
#else
#define EMU_UNCHECKED __attribute__((no_sanitize("thread")))
#endif
#define EMU_LINE int line = __builtin_LINE()  // last parameter of what can wait: the line in the kernel

// `__shared__` is one copy a block. Blocks share an OS thread only one after another, so a thread-local
// static is one copy a block. The checker runs every block on one OS thread and gives each array its own red
// zone (see source.py).
#ifdef EMU_CHECK
#define __global__
#define EMU_SHARED_STORAGE
#define __shared__ static
#else
#define __global__ inline __attribute__((always_inline))  // into its entry point: one return less a thread
#define EMU_SHARED_STORAGE __thread
#define __shared__ static __thread
#endif
#define EMU_DYNAMIC_SHARED_BYTES 232448  // 227 KiB, the most that a block can have on sm_90
