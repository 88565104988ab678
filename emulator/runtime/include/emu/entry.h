// Entry points: emulator/source.py adds EMU_KERNEL for every __global__ function it finds.
#pragma once
#include "emu/state.h"

namespace emu {

template <class T>
struct Bare {
  typedef T type;
};
template <class T>
struct Bare<volatile T> {
  typedef T type;
};
template <class T>
struct Bare<const volatile T> {
  typedef T type;
};
template <class T>
struct Bare<const T> {
  typedef T type;
};

EMU_FUNCTION void describe_as(char*& out, char kind, unsigned bytes) {
  char digits[8];
  int n = 0;
  do digits[n++] = (char)('0' + bytes % 10);
  while (bytes /= 10);
  *out++ = kind;
  while (n) *out++ = digits[--n];
  *out++ = ',';
}

// One parameter as text: its kind (f float, i integer, b bool, s struct, v void), then its size in bytes. A
// pointer is p, or r where it points to const, and then its element.
template <class T>
struct Parameter {
  static void describe(char*& out) {
    char kind = 's';
    if constexpr (!__is_class(T) && !__is_union(T)) kind = (T)0.5 != (T)0 && sizeof(T) > 1 ? 'f' : 'i';
    describe_as(out, kind, sizeof(T));
  }
};
template <>
struct Parameter<bool> {
  static void describe(char*& out) { describe_as(out, 'b', 1); }
};
template <>
struct Parameter<void> {
  static void describe(char*& out) { describe_as(out, 'v', 1); }
};
template <class T>
struct Parameter<T*> {
  static void describe(char*& out) {
    *out++ = __is_same(T, const typename Bare<T>::type) ? 'r' : 'p';
    Parameter<typename Bare<T>::type>::describe(out);
  }
};

template <int...>
struct Indices {};
template <int n, int... rest>
struct Count : Count<n - 1, n - 1, rest...> {};
template <int... all>
struct Count<0, all...> {
  typedef Indices<all...> type;
};

template <class... A, int... i>
EMU_INLINE EMU_UNCHECKED void apply(void (*kernel)(A...), void** args, Indices<i...>) {
  kernel(*(typename Bare<A>::type*)args[i]...);
}
template <class... A>
EMU_INLINE EMU_UNCHECKED void apply(void (*kernel)(A...), void** args) {
  apply(kernel, args, typename Count<sizeof...(A)>::type());
}
template <class... A>
EMU_FUNCTION void describe(void (*)(A...), char* out) {
  int order[] = {0, (Parameter<typename Bare<A>::type>::describe(out), 0)...};
  (void)order;
  *out = 0;
}

}  // namespace emu

#define EMU_KERNEL(SYMBOL, ...)                                                                          \
  extern "C" EMU_API EMU_UNCHECKED void emu_run_##SYMBOL(void** args) { emu::apply(__VA_ARGS__, args); } \
  extern "C" EMU_API void emu_signature_##SYMBOL(char* out) { emu::describe(__VA_ARGS__, out); }
#define EMU_GLOBAL(NAME)                                      \
  extern "C" EMU_API void* emu_global_##NAME(size_t* bytes) { \
    *bytes = sizeof(NAME);                                    \
    return (void*)&NAME;                                      \
  }
