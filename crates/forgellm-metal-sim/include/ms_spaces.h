// Functions that take pointers, for the pass that checks address spaces: declarations only.
#pragma once
#include "ms_atomic.h"
#include "ms_simdgroup_matrix.h"

#define MS_DEVICE __attribute__((address_space(1)))
#define MS_CONSTANT __attribute__((address_space(2))) const
#define MS_THREADGROUP __attribute__((address_space(3)))

namespace metal {
#define MS_ATOMICS(space)                                                                              \
  template <typename T>                                                                                \
  T atomic_load_explicit(const volatile space _atomic<T> *, memory_order);                             \
  template <typename T>                                                                                \
  void atomic_store_explicit(volatile space _atomic<T> *, type_identity_t<T>, memory_order);           \
  template <typename T>                                                                                \
  T atomic_exchange_explicit(volatile space _atomic<T> *, type_identity_t<T>, memory_order);           \
  template <typename T>                                                                                \
  bool atomic_compare_exchange_weak_explicit(volatile space _atomic<T> *, T *, type_identity_t<T>,     \
                                             memory_order, memory_order);                              \
  MS_FETCH(add, space)                                                                                 \
  MS_FETCH(sub, space)                                                                                 \
  MS_FETCH(and, space)                                                                                 \
  MS_FETCH(or, space)                                                                                  \
  MS_FETCH(xor, space)                                                                                 \
  MS_FETCH(min, space)                                                                                 \
  MS_FETCH(max, space)                                                                                 \
  void atomic_min_explicit(volatile space _atomic<ulong> *, ulong, memory_order);                      \
  void atomic_max_explicit(volatile space _atomic<ulong> *, ulong, memory_order);
#define MS_FETCH(name, space) \
  template <typename T>       \
  T atomic_fetch_##name##_explicit(volatile space _atomic<T> *, type_identity_t<T>, memory_order);
MS_ATOMICS(MS_DEVICE)
MS_ATOMICS(MS_THREADGROUP)
#undef MS_ATOMICS
#undef MS_FETCH

#define MS_MATRIX(space)                                                                              \
  template <typename T>                                                                                      \
  void simdgroup_load(simdgroup_matrix<T, 8, 8> &, const space T *, ulong = 8, ulong2 = 0, bool = false);    \
  template <typename T>                                                                                      \
  void simdgroup_store(const simdgroup_matrix<T, 8, 8> &, space T *, ulong = 8, ulong2 = 0, bool = false);
MS_MATRIX(MS_DEVICE)
MS_MATRIX(MS_THREADGROUP)
#undef MS_MATRIX
template <typename T>
void simdgroup_load(simdgroup_matrix<T, 8, 8> &, const MS_CONSTANT T *, ulong = 8, ulong2 = 0, bool = false);
}  // namespace metal
