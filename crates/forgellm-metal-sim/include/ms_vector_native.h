// vec<T, N> for the pass that checks address spaces: clang's own vectors, which may lie in any of them. What they lack
// (comparisons that give bools, constructors of several parts) is not checked in that pass.
#pragma once
#include "ms_limits.h"

#define MS_INLINE_MEMBER __attribute__((always_inline))

namespace metal {
template <typename T, int N>
using vec = T __attribute__((ext_vector_type(N)));
template <typename T, int N>
using packed_vec = vec<T, N>;

// What a constructor call becomes.
template <typename To, typename... From>
To ms_make(const From &...);
}  // namespace metal
