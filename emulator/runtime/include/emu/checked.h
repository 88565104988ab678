// Shared arrays under the checker. emulator/source.py turns `__shared__ float tile[32][33];` into
//   struct emu_shared_type_7 { char before[256]; float tile[32][33]; char after[256]; };
//   alignas(256) static emu_shared_type_7 emu_shared_7; static auto& tile = emu_shared_7.tile;
//   emu::enter_shared(tile, "tile");
// so that an overrun lands in a red zone, and the checker knows the array by name.
#pragma once
#ifdef EMU_CHECK
#include "emu/state.h"

extern "C" EMU_API void emu_check_shared(void* address, size_t bytes, size_t element, const int* extents,
                                         const char* name);

#if defined(__clang__) && __clang_major__ < 15  // later ones call __tsan_memcpy by themselves
#include <string.h>
extern "C" EMU_API void* __tsan_memcpy(void* to, const void* from, size_t bytes);
extern "C" __attribute__((visibility("hidden"), used)) EMU_UNCHECKED inline void* memcpy(void* to, const void* from,
                                                                                         size_t bytes) noexcept {
  return __tsan_memcpy(to, from, bytes);  // the caller's line is then this one's caller
}
#endif

namespace emu {

template <class T>
struct Extents {
  enum { rank = 0 };
  typedef T Element;
  static void write(int*) {}
};
template <class T, size_t n>
struct Extents<T[n]> {
  enum { rank = 1 + Extents<T>::rank };
  typedef typename Extents<T>::Element Element;
  static void write(int* out) {
    *out = (int)n;
    Extents<T>::write(out + 1);
  }
};

template <class T>
EMU_UNCHECKED int enter_shared(T& array, const char* name) {
  int extents[8] = {};
  static_assert(Extents<T>::rank < 8, "a shared array of more than seven dimensions");
  Extents<T>::write(extents);
  emu_check_shared((void*)&array, sizeof array, sizeof(typename Extents<T>::Element), extents, name);
  return 0;
}

}  // namespace emu
#endif
