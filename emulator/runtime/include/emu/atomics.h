// Atomic read-modify-write operations: relaxed, as on a GPU.
#pragma once
#include "emu/execution.h"

#ifdef EMU_CHECK
extern "C" EMU_API void emu_check_atomic(void* address, int bytes, void* pc);
// A function of its own, so that its return address is the kernel's line; its own accesses are not the
// kernel's.
#define EMU_ATOMIC EMU_UNCHECKED __attribute__((noinline)) static
#define EMU_ATOMIC_SEEN(address) emu_check_atomic((void*)(address), sizeof *(address), __builtin_return_address(0))
#else
#define EMU_ATOMIC static inline
#define EMU_ATOMIC_SEEN(address)
#endif

namespace emu {

template <int bytes>
struct Word;
template <>
struct Word<2> {
  typedef uint16_t type;
};
template <>
struct Word<4> {
  typedef uint32_t type;
};
template <>
struct Word<8> {
  typedef uint64_t type;
};
template <class T>
struct Same {
  typedef T type;
};  // keeps a parameter out of template deduction

template <class T, class Update>
static inline EMU_UNCHECKED __attribute__((always_inline)) T read_modify_write(T* address, Update update) {
  typedef typename Word<sizeof(T)>::type W;
  W before = __atomic_load_n((W*)address, __ATOMIC_RELAXED), after;
  T old;
  do {
    __builtin_memcpy(&old, &before, sizeof old);
    T changed = update(old);
    __builtin_memcpy(&after, &changed, sizeof after);
  } while (!__atomic_compare_exchange_n((W*)address, &before, after, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  return old;
}

}  // namespace emu

#define EMU_ATOMIC_OPERATION(NAME, EXPRESSION)                                                         \
  template <class T>                                                                                   \
  EMU_ATOMIC T NAME(T* address, typename emu::Same<T>::type value) {                                   \
    EMU_ATOMIC_SEEN(address);                                                                          \
    return emu::read_modify_write(                                                                     \
        address, [=](T old) EMU_UNCHECKED __attribute__((always_inline)) -> T { return EXPRESSION; }); \
  }                                                                                                    \
  template <class T>                                                                                   \
  EMU_INLINE T NAME##_block(T* address, typename emu::Same<T>::type value) {                           \
    return NAME(address, value);                                                                       \
  }                                                                                                    \
  template <class T>                                                                                   \
  EMU_INLINE T NAME##_system(T* address, typename emu::Same<T>::type value) {                          \
    return NAME(address, value);                                                                       \
  }
EMU_ATOMIC_OPERATION(atomicAdd, (T)(old + value))
EMU_ATOMIC_OPERATION(atomicSub, (T)(old - value))
EMU_ATOMIC_OPERATION(atomicExch, value)
EMU_ATOMIC_OPERATION(atomicMin, old < value ? old : value)
EMU_ATOMIC_OPERATION(atomicMax, old > value ? old : value)
EMU_ATOMIC_OPERATION(atomicAnd, (T)(old & value))
EMU_ATOMIC_OPERATION(atomicOr, (T)(old | value))
EMU_ATOMIC_OPERATION(atomicXor, (T)(old ^ value))
EMU_ATOMIC_OPERATION(atomicInc, old >= value ? 0 : old + 1)
EMU_ATOMIC_OPERATION(atomicDec, old == 0 || old > value ? value : old - 1)
#undef EMU_ATOMIC_OPERATION

template <class T>
EMU_ATOMIC T atomicCAS(T* address, typename emu::Same<T>::type compare, typename emu::Same<T>::type value) {
  EMU_ATOMIC_SEEN(address);
  typedef typename emu::Word<sizeof(T)>::type W;
  W expected, desired;
  __builtin_memcpy(&expected, &compare, sizeof expected);
  __builtin_memcpy(&desired, &value, sizeof desired);
  if (!__atomic_compare_exchange_n((W*)address, &expected, desired, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    emu_yield(0);  // a lane that spins for a lock must let the lane that holds it go on
  }
  T old;
  __builtin_memcpy(&old, &expected, sizeof old);
  return old;
}
