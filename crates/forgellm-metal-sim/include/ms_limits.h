// numeric_limits of namespace metal.
#pragma once
#include "ms_traits.h"

namespace metal {
// Kernels in the wild specialise this name for their own types.
template <typename T>
struct _numeric_limits_impl {
  static constexpr bool is_specialized = false;
};
template <typename T>
struct numeric_limits : _numeric_limits_impl<remove_cv_t<T>> {};

template <typename T>
struct ms_integer_limits {
  static constexpr bool is_specialized = true;
  static constexpr bool is_integer = true;
  static constexpr bool is_exact = true;
  static constexpr bool is_signed = T(-1) < T(0);
  static constexpr bool has_infinity = false;
  static constexpr bool has_quiet_NaN = false;
  static constexpr int radix = 2;
  static constexpr int digits = int(sizeof(T) * 8) - is_signed;
  static constexpr int digits10 = digits * 3 / 10;
  static constexpr T max() { return T(T(~0ul) < T(0) ? (1ul << digits) - 1 : T(~0ul)); }
  static constexpr T min() { return is_signed ? T(-max() - 1) : T(0); }
  static constexpr T lowest() { return min(); }
  static constexpr T epsilon() { return 0; }
  static constexpr T round_error() { return 0; }
  static constexpr T infinity() { return 0; }
  static constexpr T quiet_NaN() { return 0; }
};
#define MS_LIMITS(T) \
  template <>        \
  struct _numeric_limits_impl<T> : ms_integer_limits<T> {};
MS_LIMITS(char)
MS_LIMITS(signed char)
MS_LIMITS(uchar)
MS_LIMITS(short)
MS_LIMITS(ushort)
MS_LIMITS(int)
MS_LIMITS(uint)
MS_LIMITS(long)
MS_LIMITS(ulong)
#undef MS_LIMITS
template <>
struct _numeric_limits_impl<bool> : ms_integer_limits<bool> {
  static constexpr int digits = 1;
  static constexpr bool max() { return true; }
  static constexpr bool min() { return false; }
  static constexpr bool lowest() { return false; }
};

#define MS_LIMITS(T, DIGITS, DIGITS10, MAX_DIGITS10, MAX_EXPONENT, MAX, MIN, DENORM, EPSILON)      \
  template <>                                                                                      \
  struct _numeric_limits_impl<T> {                                                                   \
    static constexpr bool is_specialized = true;                                                   \
    static constexpr bool is_integer = false;                                                      \
    static constexpr bool is_exact = false;                                                        \
    static constexpr bool is_signed = true;                                                        \
    static constexpr bool has_infinity = true;                                                     \
    static constexpr bool has_quiet_NaN = true;                                                    \
    static constexpr int radix = 2;                                                                \
    static constexpr int digits = DIGITS;                                                          \
    static constexpr int digits10 = DIGITS10;                                                      \
    static constexpr int max_digits10 = MAX_DIGITS10;                                              \
    static constexpr int max_exponent = MAX_EXPONENT;                                              \
    static constexpr int min_exponent = 3 - MAX_EXPONENT;                                          \
    static constexpr T max() { return T(MAX); }                                                    \
    static constexpr T lowest() { return T(-MAX); }                                                \
    static constexpr T min() { return T(MIN); }                                                    \
    static constexpr T denorm_min() { return T(DENORM); }                                          \
    static constexpr T epsilon() { return T(EPSILON); }                                            \
    static constexpr T round_error() { return T(0.5f); }                                           \
    static constexpr T infinity() { return T(__builtin_inff()); }                                  \
    static constexpr T quiet_NaN() { return T(__builtin_nanf("")); }                               \
    static constexpr T signaling_NaN() { return T(__builtin_nanf("")); }                           \
  };
MS_LIMITS(float, 24, 6, 9, 128, 0x1.fffffep127f, 0x1p-126f, 0x1p-149f, 0x1p-23f)
MS_LIMITS(half, 11, 3, 5, 16, 65504.0f, 0x1p-14f, 0x1p-24f, 0x1p-10f)
MS_LIMITS(bfloat, 8, 2, 4, 128, 0x1.fep127f, 0x1p-126f, 0x1p-133f, 0x1p-7f)
#undef MS_LIMITS
}  // namespace metal
