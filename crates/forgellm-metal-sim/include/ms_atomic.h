// metal_atomic: atomic variables in device and threadgroup memory.
#pragma once
#include "ms_simdgroup.h"

namespace metal {
enum memory_order { memory_order_relaxed = 0, memory_order_acq_rel = 4, memory_order_seq_cst = 5 };
enum thread_scope {
  thread_scope_thread = 0,
  thread_scope_simdgroup = 1,
  thread_scope_threadgroup = 2,
  thread_scope_device = 3,
};

template <typename T>
struct _atomic {
  static_assert(is_same_v<T, int> || is_same_v<T, uint> || is_same_v<T, bool> || is_same_v<T, float> ||
                    is_same_v<T, ulong>,
                "atomics hold int, uint, bool, float or ulong");
  typedef T value_type;
  T ms_value;
  _atomic() = default;
  _atomic(const _atomic &) = delete;
  _atomic &operator=(const _atomic &) = delete;
};
template <typename T>
using atomic = _atomic<T>;
typedef atomic<int> atomic_int;
typedef atomic<uint> atomic_uint;
typedef atomic<bool> atomic_bool;
typedef atomic<float> atomic_float;
typedef atomic<ulong> atomic_ulong;
}  // namespace metal
using metal::atomic_bool;
using metal::atomic_float;
using metal::atomic_int;
using metal::atomic_uint;
using metal::atomic_ulong;

namespace ms {
MS_PLACE void atomic_access(void *address, uint64_t bytes, uint kind) {
  ms_host_table->atomic(address, bytes, kind, MS_RETURN_ADDRESS);
}
#if MS_TRACED
#define MS_ATOMIC(object, kind) \
  ms::atomic_access(const_cast<void *>(reinterpret_cast<const volatile void *>(object)), sizeof(*object), kind)
#else
#define MS_ATOMIC(object, kind) (void)0
#endif

template <typename T>
struct atomic_bits {
  typedef T type;
};
template <>
struct atomic_bits<float> {
  typedef uint type;
};

template <typename T>
MS_UNTRACED T atomic_load(const volatile T *p) {
  T r;
  __atomic_load(const_cast<T *>(p), &r, __ATOMIC_RELAXED);
  return r;
}
template <typename T>
MS_UNTRACED void atomic_store(volatile T *p, T value) {
  __atomic_store(const_cast<T *>(p), &value, __ATOMIC_RELAXED);
}
template <typename T>
MS_UNTRACED T atomic_exchange(volatile T *p, T value) {
  T r;
  __atomic_exchange(const_cast<T *>(p), &value, &r, __ATOMIC_RELAXED);
  return r;
}
template <typename T>
MS_UNTRACED bool atomic_compare_exchange(volatile T *p, T *expected, T desired) {
  return __atomic_compare_exchange(const_cast<T *>(p), expected, &desired, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}
// Any operation on any type, by compare and exchange.
template <typename T, typename F>
MS_UNTRACED T atomic_update(volatile T *p, T operand, F f) {
  T before = atomic_load(p);
  T after = f(before, operand);
  while (!__atomic_compare_exchange(const_cast<T *>(p), &before, &after, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
    after = f(before, operand);
  return before;
}
}  // namespace ms

namespace metal {
#if !MS_SPACES
// The order is an argument because the language wants it written; only relaxed exists for atomic operations.
template <typename T>
MS_INLINE T atomic_load_explicit(const volatile _atomic<T> *object, memory_order) {
  MS_ATOMIC(object, 0);
  return ms::atomic_load(&object->ms_value);
}
template <typename T>
MS_INLINE void atomic_store_explicit(volatile _atomic<T> *object, type_identity_t<T> desired, memory_order) {
  MS_ATOMIC(object, 1);
  ms::atomic_store(&object->ms_value, desired);
}
template <typename T>
MS_INLINE T atomic_exchange_explicit(volatile _atomic<T> *object, type_identity_t<T> desired, memory_order) {
  MS_ATOMIC(object, 2);
  return ms::atomic_exchange(&object->ms_value, desired);
}
template <typename T>
MS_INLINE bool atomic_compare_exchange_weak_explicit(volatile _atomic<T> *object, T *expected,
                                                     type_identity_t<T> desired, memory_order, memory_order) {
  MS_ATOMIC(object, 2);
  return ms::atomic_compare_exchange(&object->ms_value, expected, desired);
}

#define MS_FETCH(name, allowed, message, expression)                                                          \
  template <typename T>                                                                                       \
  MS_INLINE T atomic_fetch_##name##_explicit(volatile _atomic<T> *object, type_identity_t<T> operand,         \
                                             memory_order) {                                                  \
    static_assert(allowed, message);                                                                          \
    MS_ATOMIC(object, 2);                                                                                     \
    return ms::atomic_update(&object->ms_value, operand, [](T a, T b) { return T(expression); });             \
  }
#define MS_32_BITS (is_same_v<T, int> || is_same_v<T, uint>)
MS_FETCH(add, MS_32_BITS || (is_same_v<T, float>), "atomic_fetch_add takes int, uint and float", a + b)
MS_FETCH(sub, MS_32_BITS || (is_same_v<T, float>), "atomic_fetch_sub takes int, uint and float", a - b)
MS_FETCH(and, MS_32_BITS, "atomic_fetch_and takes int and uint", a & b)
MS_FETCH(or, MS_32_BITS, "atomic_fetch_or takes int and uint", a | b)
MS_FETCH(xor, MS_32_BITS, "atomic_fetch_xor takes int and uint", a ^ b)
MS_FETCH(min, MS_32_BITS, "atomic_fetch_min takes int and uint", b < a ? b : a)
MS_FETCH(max, MS_32_BITS, "atomic_fetch_max takes int and uint", a < b ? b : a)
#undef MS_FETCH
#undef MS_32_BITS

#define MS_ULONG(name, expression)                                                                            \
  MS_INLINE void atomic_##name##_explicit(volatile _atomic<ulong> *object, ulong operand, memory_order) {     \
    MS_ATOMIC(object, 2);                                                                                     \
    ms::atomic_update(&object->ms_value, operand, [](ulong a, ulong b) { return expression; });               \
  }
MS_ULONG(min, b < a ? b : a)
MS_ULONG(max, a < b ? b : a)
#undef MS_ULONG
#endif

// Threads of one threadgroup run on one core and see each other's accesses in order; threadgroups synchronise only
// through atomics, so a fence of the processor is enough.
MS_INLINE void atomic_thread_fence(mem_flags, memory_order, thread_scope = thread_scope_device) {
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
}  // namespace metal
