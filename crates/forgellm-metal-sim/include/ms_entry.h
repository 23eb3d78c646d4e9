// What generated entry functions use: the arguments of a kernel, fetched from its thread by the type they have in the
// kernel's signature.
#pragma once
#include "ms_vector.h"

namespace ms {
template <typename T>
struct arguments;
template <typename R, typename... P>
struct arguments<R (*)(P...)> {
  template <int I, typename First, typename... Rest>
  struct at : at<I - 1, Rest...> {};
  template <typename First, typename... Rest>
  struct at<0, First, Rest...> {
    typedef First type;
  };
  template <int I>
  using type = typename at<I, P...>::type;
};

// Memory that all threads of a threadgroup share, declared in a kernel.
template <typename T>
MS_INLINE T &threadgroup_variable(uint32_t site, const char *name) {
#if MS_SPACES
  return *(T *)nullptr;
#else
  return *static_cast<T *>(ms_host_table->threadgroup_memory(site, sizeof(T), alignof(T), name));
#endif
}

template <typename T>
struct pointed {
  static_assert(sizeof(T) == 0, "a buffer or threadgroup parameter is a pointer or a reference");
};
template <typename T>
struct pointed<T *> {
  MS_INLINE T *from(void *address) { return static_cast<T *>(address); }
};
template <typename T>
struct pointed<T &> {
  MS_INLINE T &from(void *address) {
#if !MS_TRACED
    // An optional argument that is not bound. The compiler holds every reference for readable and may load ahead of the
    // condition that keeps the kernel from using it. The traced build must not, and reports a use.
    if (!address) {
      struct alignas(T) memory {
        unsigned char bytes[sizeof(T)];
      };
      static const memory absent = [] {
        memory filled = {};
        for (unsigned char &byte : filled.bytes) byte = 0xff;
        return filled;
      }();
      return *(T *)&absent;
    }
#endif
    return *static_cast<T *>(address);
  }
};

template <typename T>
MS_INLINE T buffer(const ms_thread *thread, unsigned index) {
  return pointed<T>::from(thread->buffers[index]);
}
template <typename T>
MS_INLINE T threadgroup_buffer(const ms_thread *thread, unsigned index) {
  return pointed<T>::from(thread->threadgroup_buffers[index]);
}

// Built-in values, scalar or the first components of a vector, as the kernel declares them.
template <typename T>
struct value {
  MS_INLINE T from(uint32_t scalar) { return T(scalar); }
  MS_INLINE T from(const uint32_t *vector) { return T(vector[0]); }
};
template <typename T, int N>
struct value<metal::vec<T, N>> {
  MS_INLINE metal::vec<T, N> from(const uint32_t *vector) {
    metal::vec<T, N> r;
    for (int i = 0; i < N; ++i) r[i] = T(vector[i]);
    return r;
  }
};
template <typename T>
struct value<const T> : value<T> {};
// Values that are computed rather than stored.
constexpr uint32_t zero_origin[3] = {0, 0, 0};
MS_INLINE uint32_t quadgroups(const ms_thread *thread) {
  const uint32_t *size = thread->threads_per_threadgroup;
  return (size[0] * size[1] * size[2] + 3) / 4;
}

template <typename T, typename V>
MS_INLINE T builtin(V from) {
  return value<T>::from(from);
}
}  // namespace ms
