// Names from inside of Apple's library that kernels in the wild call, mostly to define overloads of their own.
// The last argument of the mathematical ones asks for fast or precise computation: both are precise here.
#pragma once
#include "ms_simdgroup.h"

#define MS_INTERNAL_1(name, to)                          \
  template <typename T>                                  \
  MS_INLINE auto __metal_##name(T x, bool = false) {     \
    return metal::to(x);                                 \
  }
#define MS_INTERNAL_2(name, to)                               \
  template <typename T>                                       \
  MS_INLINE auto __metal_##name(T x, T y, bool = false) {     \
    return metal::to(x, y);                                   \
  }
#define MS_INTERNAL_3(name, to)                                    \
  template <typename T>                                            \
  MS_INLINE auto __metal_##name(T x, T y, T z, bool = false) {     \
    return metal::to(x, y, z);                                     \
  }
#define MS_SAME_1(name) MS_INTERNAL_1(name, name)
#define MS_SAME_2(name) MS_INTERNAL_2(name, name)
#define MS_SAME_3(name) MS_INTERNAL_3(name, name)
// clang-format off
MS_SAME_1(acos) MS_SAME_1(acosh) MS_SAME_1(asin) MS_SAME_1(asinh) MS_SAME_1(atan) MS_SAME_1(atanh) MS_SAME_1(ceil)
MS_SAME_1(cos) MS_SAME_1(cosh) MS_SAME_1(cospi) MS_SAME_1(exp) MS_SAME_1(exp2) MS_SAME_1(exp10) MS_SAME_1(fabs)
MS_SAME_1(floor) MS_SAME_1(fract) MS_SAME_1(log) MS_SAME_1(log2) MS_SAME_1(log10) MS_SAME_1(rint) MS_SAME_1(round)
MS_SAME_1(rsqrt) MS_SAME_1(sin) MS_SAME_1(sinh) MS_SAME_1(sinpi) MS_SAME_1(sqrt) MS_SAME_1(tan) MS_SAME_1(tanh)
MS_SAME_1(tanpi) MS_SAME_1(trunc) MS_SAME_1(saturate)
MS_SAME_2(atan2) MS_SAME_2(divide) MS_SAME_2(fmax) MS_SAME_2(fmin) MS_SAME_2(fmod) MS_SAME_2(nextafter)
MS_SAME_2(pow) MS_SAME_2(powr)
MS_SAME_3(fma) MS_SAME_3(fmax3) MS_SAME_3(fmin3) MS_SAME_3(fmedian3) MS_SAME_3(clamp)
MS_SAME_1(simd_sum) MS_SAME_1(simd_product) MS_SAME_1(simd_min) MS_SAME_1(simd_max)
MS_SAME_1(simd_prefix_inclusive_sum) MS_SAME_1(simd_prefix_exclusive_sum)
MS_SAME_1(simd_prefix_inclusive_product) MS_SAME_1(simd_prefix_exclusive_product)
// clang-format on
#undef MS_SAME_1
#undef MS_SAME_2
#undef MS_SAME_3
#undef MS_INTERNAL_1
#undef MS_INTERNAL_2
#undef MS_INTERNAL_3

MS_INLINE int __metal_simd_xor(int x) { return metal::simd_xor(x); }
template <typename T>
MS_INLINE T __metal_frexp(T x, int *exponent) {
  return metal::frexp(x, *exponent);
}
template <typename T>
MS_INLINE T __metal_ldexp(T x, int k, bool = false) {
  return metal::ldexp(x, k);
}

#define MS_INTERNAL_SHUFFLE(name)                           \
  template <typename T>                                     \
  MS_INLINE T __metal_simd_##name(T x, ushort by) {         \
    return metal::simd_##name(x, by);                       \
  }
MS_INTERNAL_SHUFFLE(broadcast)
MS_INTERNAL_SHUFFLE(shuffle)
MS_INTERNAL_SHUFFLE(shuffle_xor)
MS_INTERNAL_SHUFFLE(shuffle_up)
MS_INTERNAL_SHUFFLE(shuffle_down)
MS_INTERNAL_SHUFFLE(shuffle_rotate_up)
MS_INTERNAL_SHUFFLE(shuffle_rotate_down)
#undef MS_INTERNAL_SHUFFLE
template <typename T>
MS_INLINE T __metal_simd_shuffle_and_fill_up(T x, T fill, ushort delta, ushort modulo) {
  return metal::simd_shuffle_and_fill_up(x, fill, delta, modulo);
}
template <typename T>
MS_INLINE T __metal_simd_shuffle_and_fill_down(T x, T fill, ushort delta, ushort modulo) {
  return metal::simd_shuffle_and_fill_down(x, fill, delta, modulo);
}

// The argument only says which type the caller wants.
template <typename T>
MS_INLINE T __metal_get_thread_index_in_simdgroup(T) {
  return T(ms::current()->lane);
}
template <typename T>
MS_INLINE T __metal_get_simdgroup_size(T) {
  return T(32);
}
