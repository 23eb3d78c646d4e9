// metal_integer: integer functions for scalars and vectors.
#pragma once
#include "ms_math.h"

namespace ms {
template <typename T>
struct wide {
  typedef __int128 type;
};
#define MS_WIDE(T, W)  \
  template <>          \
  struct wide<T> {     \
    typedef W type;    \
  };
MS_WIDE(char, int)
MS_WIDE(uchar, int)
MS_WIDE(short, int)
MS_WIDE(ushort, int)
MS_WIDE(int, long)
MS_WIDE(uint, long)
#undef MS_WIDE
template <>
struct wide<ulong> {
  typedef unsigned __int128 type;
};

template <typename T>
MS_INLINE T saturated(typename wide<T>::type x) {
  typedef metal::numeric_limits<T> limits;
  typedef typename wide<T>::type W;
  return x > W(limits::max()) ? limits::max() : x < W(limits::lowest()) ? limits::lowest() : T(x);
}
template <typename T>
MS_INLINE T subtract_saturated(T a, T b) {
  typedef typename wide<T>::type W;
  if (metal::is_unsigned_v<T> && a < b) return 0;
  return saturated<T>(W(a) - W(b));
}
template <typename T>
MS_INLINE T multiply_high(T a, T b) {
  typedef metal::conditional_t<metal::is_unsigned_v<T>, unsigned __int128, __int128> W;
  return T((W(a) * W(b)) >> (sizeof(T) * 8));
}
template <typename T>
MS_INLINE T reverse_bits(T x) {
  typedef metal::make_unsigned_t<T> U;
  U u = U(x), r = 0;
  for (unsigned i = 0; i < sizeof(T) * 8; ++i) r = U(r << 1 | (u >> i & 1));
  return T(r);
}
template <typename T>
MS_INLINE T rotate(T x, T by) {
  typedef metal::make_unsigned_t<T> U;
  constexpr unsigned bits = sizeof(T) * 8;
  unsigned k = unsigned(by) & (bits - 1);
  return k == 0 ? x : T(U(U(x) << k) | U(U(x) >> (bits - k)));
}
template <typename T>
MS_INLINE T leading_zeros(T x) {
  unsigned long u = metal::make_unsigned_t<T>(x);
  return T(u == 0 ? sizeof(T) * 8 : __builtin_clzl(u) - (64 - sizeof(T) * 8));
}
template <typename T>
MS_INLINE T trailing_zeros(T x) {
  unsigned long u = metal::make_unsigned_t<T>(x);
  return T(u == 0 ? sizeof(T) * 8 : __builtin_ctzl(u));
}
template <typename T>
MS_INLINE T extract(T x, uint offset, uint bits) {
  constexpr uint width = sizeof(T) * 8;
  if (bits == 0) return 0;
  if (offset + bits > width) bits = width - offset;
  typedef metal::make_unsigned_t<T> U;
  T top = T(U(U(x) << (width - offset - bits)));
  return T(top >> (width - bits));
}
template <typename T>
MS_INLINE T insert(T base, T part, uint offset, uint bits) {
  typedef metal::make_unsigned_t<T> U;
  if (bits == 0) return base;
  U ones = bits >= sizeof(T) * 8 ? U(~U(0)) : U((U(1) << bits) - 1);
  U mask = U(ones << offset);
  return T((U(base) & U(~mask)) | (U(U(part) << offset) & mask));
}
}  // namespace ms

namespace metal {
#define MS_INTEGER_VECTOR(T, N)                                                                     \
  MS_VECTOR_1(popcount, T, N)                                                                       \
  MS_VECTOR_1(clz, T, N)                                                                            \
  MS_VECTOR_1(ctz, T, N)                                                                            \
  MS_VECTOR_1(reverse_bits, T, N)                                                                   \
  MS_VECTOR_1(abs, T, N)                                                                            \
  MS_VECTOR_2(min, T, N)                                                                            \
  MS_VECTOR_2(max, T, N)                                                                            \
  MS_VECTOR_2(addsat, T, N)                                                                         \
  MS_VECTOR_2(subsat, T, N)                                                                         \
  MS_VECTOR_2(hadd, T, N)                                                                           \
  MS_VECTOR_2(rhadd, T, N)                                                                          \
  MS_VECTOR_2(mulhi, T, N)                                                                          \
  MS_VECTOR_2(rotate, T, N)                                                                         \
  MS_VECTOR_3(min3, T, N)                                                                           \
  MS_VECTOR_3(max3, T, N)                                                                           \
  MS_VECTOR_3(median3, T, N)                                                                        \
  MS_VECTOR_3(clamp, T, N)                                                                          \
  MS_VECTOR_3(madhi, T, N)                                                                          \
  MS_VECTOR_3(madsat, T, N)                                                                         \
  MS_INLINE vec<make_unsigned_t<T>, N> absdiff(vec<T, N> a, vec<T, N> b) {                          \
    vec<make_unsigned_t<T>, N> r;                                                                   \
    for (int i = 0; i < N; ++i) r[i] = absdiff(a[i], b[i]);                                         \
    return r;                                                                                       \
  }                                                                                                 \
  MS_INLINE vec<T, N> extract_bits(vec<T, N> x, uint offset, uint bits) {                           \
    vec<T, N> r;                                                                                    \
    for (int i = 0; i < N; ++i) r[i] = extract_bits(x[i], offset, bits);                            \
    return r;                                                                                       \
  }                                                                                                 \
  MS_INLINE vec<T, N> insert_bits(vec<T, N> base, vec<T, N> part, uint offset, uint bits) {         \
    vec<T, N> r;                                                                                    \
    for (int i = 0; i < N; ++i) r[i] = insert_bits(base[i], part[i], offset, bits);                 \
    return r;                                                                                       \
  }

#define MS_INTEGER(T)                                                                                        \
  MS_INLINE T popcount(T x) { return T(__builtin_popcountl(make_unsigned_t<T>(x))); }                        \
  MS_INLINE T clz(T x) { return ms::leading_zeros(x); }                                                      \
  MS_INLINE T ctz(T x) { return ms::trailing_zeros(x); }                                                     \
  MS_INLINE T reverse_bits(T x) { return ms::reverse_bits(x); }                                              \
  MS_INLINE T abs(T x) { return x < T(0) ? T(make_unsigned_t<T>(0) - make_unsigned_t<T>(x)) : x; }           \
  MS_INLINE T min(T a, T b) { return b < a ? b : a; }                                                        \
  MS_INLINE T max(T a, T b) { return a < b ? b : a; }                                                        \
  MS_INLINE T addsat(T a, T b) {                                                                             \
    typedef typename ms::wide<T>::type W;                                                                    \
    return ms::saturated<T>(W(a) + W(b));                                                                    \
  }                                                                                                          \
  MS_INLINE T subsat(T a, T b) { return ms::subtract_saturated(a, b); }                                      \
  MS_INLINE T hadd(T a, T b) {                                                                               \
    typedef typename ms::wide<T>::type W;                                                                    \
    return T((W(a) + W(b)) >> 1);                                                                            \
  }                                                                                                          \
  MS_INLINE T rhadd(T a, T b) {                                                                              \
    typedef typename ms::wide<T>::type W;                                                                    \
    return T((W(a) + W(b) + 1) >> 1);                                                                        \
  }                                                                                                          \
  MS_INLINE T mulhi(T a, T b) { return ms::multiply_high(a, b); }                                            \
  MS_INLINE T rotate(T x, T by) { return ms::rotate(x, by); }                                                \
  MS_INLINE T min3(T a, T b, T c) { return min(a, min(b, c)); }                                              \
  MS_INLINE T max3(T a, T b, T c) { return max(a, max(b, c)); }                                              \
  MS_INLINE T median3(T a, T b, T c) { return max(min(a, b), min(max(a, b), c)); }                           \
  MS_INLINE T clamp(T x, T low, T high) { return min(max(x, low), high); }                                   \
  MS_INLINE T madhi(T a, T b, T c) { return T(make_unsigned_t<T>(mulhi(a, b)) + make_unsigned_t<T>(c)); }    \
  MS_INLINE T madsat(T a, T b, T c) {                                                                        \
    typedef conditional_t<is_unsigned_v<T>, unsigned __int128, __int128> W;                                  \
    W w = W(a) * W(b) + W(c);                                                                                \
    W top = W(numeric_limits<T>::max()), bottom = W(numeric_limits<T>::lowest());                            \
    return w > top ? numeric_limits<T>::max() : w < bottom ? numeric_limits<T>::lowest() : T(w);             \
  }                                                                                                          \
  MS_INLINE make_unsigned_t<T> absdiff(T a, T b) {                                                           \
    typedef make_unsigned_t<T> U;                                                                            \
    return a < b ? U(U(b) - U(a)) : U(U(a) - U(b));                                                          \
  }                                                                                                          \
  MS_INLINE T extract_bits(T x, uint offset, uint bits) { return ms::extract(x, offset, bits); }             \
  MS_INLINE T insert_bits(T base, T part, uint offset, uint bits) {                                          \
    return ms::insert(base, part, offset, bits);                                                             \
  }                                                                                                          \
  MS_SIZES(MS_INTEGER_VECTOR, T)
MS_INTEGER(char)
MS_INTEGER(uchar)
MS_INTEGER(short)
MS_INTEGER(ushort)
MS_INTEGER(int)
MS_INTEGER(uint)
MS_INTEGER(long)
MS_INTEGER(ulong)
#undef MS_INTEGER
#undef MS_INTEGER_VECTOR

// 24-bit multiplication: the language leaves results outside 24 bits open, the simulator computes them in full.
#define MS_MULTIPLY_24(T)                                                                   \
  MS_INLINE T mul24(T a, T b) { return T(uint(a) * uint(b)); }                              \
  MS_INLINE T mad24(T a, T b, T c) { return T(uint(a) * uint(b) + uint(c)); }               \
  MS_SIZES(MS_VECTOR_2, mul24, T)                                                           \
  MS_SIZES(MS_VECTOR_3, mad24, T)
MS_MULTIPLY_24(int)
MS_MULTIPLY_24(uint)
#undef MS_MULTIPLY_24

// Both modes compute alike here: always the precise value. The names are declared in each, since kernels in the wild
// add overloads to them.
#define MS_MODE \
  using metal::acos; using metal::acosh; using metal::asin; using metal::asinh; using metal::atan; using \
  metal::atan2; using metal::atanh; using metal::ceil; using metal::clamp; using metal::copysign; using \
  metal::cos; using metal::cosh; using metal::cospi; using metal::cross; using metal::distance; using \
  metal::distance_squared; using metal::divide; using metal::dot; using metal::exp; using metal::exp10; using \
  metal::exp2; using metal::fabs; using metal::abs; using metal::fdim; using metal::floor; using metal::fma; \
  using metal::fmax; using metal::fmax3; using metal::fmedian3; using metal::fmin; using metal::fmin3; using \
  metal::fmod; using metal::fract; using metal::frexp; using metal::ilogb; using metal::ldexp; using \
  metal::length; using metal::length_squared; using metal::log; using metal::log10; using metal::log2; using \
  metal::max; using metal::max3; using metal::median3; using metal::min; using metal::min3; using metal::mix; \
  using metal::modf; using metal::nextafter; using metal::normalize; using metal::pow; using metal::powr; \
  using metal::rint; using metal::round; using metal::rsqrt; using metal::saturate; using metal::sign; using \
  metal::sin; using metal::sincos; using metal::sinh; using metal::sinpi; using metal::smoothstep; using \
  metal::sqrt; using metal::step; using metal::tan; using metal::tanh; using metal::tanpi; using metal::trunc;
namespace fast {
MS_MODE
}
namespace precise {
MS_MODE
}
#undef MS_MODE
}  // namespace metal

// The compiler's own routine for float to bfloat, which not every runtime library has: round to nearest even.
extern "C" __attribute__((used, visibility("hidden"), no_sanitize("address", "kernel-address"))) inline bfloat
__truncsfbf2(float x) {
  uint bits = __builtin_bit_cast(uint, x);
  uint rounded = x != x ? bits | 0x400000 : bits + 0x7fff + (bits >> 16 & 1);
  return __builtin_bit_cast(bfloat, ushort(rounded >> 16));
}
