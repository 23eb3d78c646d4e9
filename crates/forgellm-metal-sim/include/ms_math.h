// metal_math, metal_common, metal_relational and metal_geometric.
//
// One function per type, as in the language: a call that mixes types is ambiguous here where it is ambiguous there.
// Everything is computed as IEEE float; half rounds once per function. The language has none of these for bfloat: an
// argument of that type becomes a float where that is the only choice.
#pragma once
#include "ms_vector.h"

// Expands M(T, N) or M(name, T, N) for the three vector sizes.
#define MS_SIZES(M, ...) M(__VA_ARGS__, 2) M(__VA_ARGS__, 3) M(__VA_ARGS__, 4)

#define MS_VECTOR_1(name, T, N)                               \
  MS_INLINE vec<T, N> name(vec<T, N> a) {                     \
    vec<T, N> r;                                              \
    for (int i = 0; i < N; ++i) r[i] = name(a[i]);            \
    return r;                                                 \
  }
#define MS_VECTOR_2(name, T, N)                               \
  MS_INLINE vec<T, N> name(vec<T, N> a, vec<T, N> b) {        \
    vec<T, N> r;                                              \
    for (int i = 0; i < N; ++i) r[i] = name(a[i], b[i]);      \
    return r;                                                 \
  }
#define MS_VECTOR_3(name, T, N)                                             \
  MS_INLINE vec<T, N> name(vec<T, N> a, vec<T, N> b, vec<T, N> c) {         \
    vec<T, N> r;                                                            \
    for (int i = 0; i < N; ++i) r[i] = name(a[i], b[i], c[i]);              \
    return r;                                                               \
  }
#define MS_VECTOR_TEST(name, T, N)                            \
  MS_INLINE vec<bool, N> name(vec<T, N> a) {                  \
    vec<bool, N> r;                                           \
    for (int i = 0; i < N; ++i) r[i] = name(a[i]);            \
    return r;                                                 \
  }

#define MS_FLOAT_1(name, expression)                                        \
  MS_INLINE float name(float x) { return expression; }                      \
  MS_INLINE half name(half x) { return half(name(float(x))); }              \
  MS_SIZES(MS_VECTOR_1, name, float)                                        \
  MS_SIZES(MS_VECTOR_1, name, half)
#define MS_FLOAT_2(name, expression)                                                          \
  MS_INLINE float name(float x, float y) { return expression; }                               \
  MS_INLINE half name(half x, half y) { return half(name(float(x), float(y))); }              \
  MS_SIZES(MS_VECTOR_2, name, float)                                                          \
  MS_SIZES(MS_VECTOR_2, name, half)
#define MS_FLOAT_3(name, expression)                                                                       \
  MS_INLINE float name(float x, float y, float z) { return expression; }                                   \
  MS_INLINE half name(half x, half y, half z) { return half(name(float(x), float(y), float(z))); }         \
  MS_SIZES(MS_VECTOR_3, name, float)                                                                       \
  MS_SIZES(MS_VECTOR_3, name, half)
#define MS_FLOAT_TEST(name, expression)                                     \
  MS_INLINE bool name(float x) { return expression; }                       \
  MS_INLINE bool name(half x) { return name(float(x)); }                    \
  MS_SIZES(MS_VECTOR_TEST, name, float)                                     \
  MS_SIZES(MS_VECTOR_TEST, name, half)

namespace ms {
// sin and cos of pi * x, exact at multiples of one half.
MS_INLINE float sin_of_pi(float x) {
  float r = x - 2.0f * __builtin_roundf(x * 0.5f);
  if (r == 1.0f || r == -1.0f) return 0.0f * r;
  return __builtin_sin(double(r) * 0x1.921fb54442d18p+1);
}
MS_INLINE float cos_of_pi(float x) {
  float r = __builtin_fabsf(x - 2.0f * __builtin_roundf(x * 0.5f));
  if (r == 0.5f) return 0.0f;
  return __builtin_cos(double(r) * 0x1.921fb54442d18p+1);
}
MS_INLINE float nan() { return __builtin_nanf(""); }
}  // namespace ms

namespace metal {
MS_FLOAT_1(acos, __builtin_acosf(x))
MS_FLOAT_1(acosh, __builtin_acoshf(x))
MS_FLOAT_1(asin, __builtin_asinf(x))
MS_FLOAT_1(asinh, __builtin_asinhf(x))
MS_FLOAT_1(atan, __builtin_atanf(x))
MS_FLOAT_1(atanh, __builtin_atanhf(x))
MS_FLOAT_1(ceil, __builtin_ceilf(x))
MS_FLOAT_1(cos, __builtin_cosf(x))
MS_FLOAT_1(cosh, __builtin_coshf(x))
MS_FLOAT_1(cospi, ms::cos_of_pi(x))
MS_FLOAT_1(exp, __builtin_expf(x))
MS_FLOAT_1(exp2, __builtin_exp2f(x))
MS_FLOAT_1(exp10, float(__builtin_pow(10.0, double(x))))
MS_FLOAT_1(fabs, __builtin_fabsf(x))
MS_FLOAT_1(floor, __builtin_floorf(x))
MS_FLOAT_1(fract, __builtin_fminf(x - __builtin_floorf(x), 0x1.fffffep-1f))
MS_FLOAT_1(log, __builtin_logf(x))
MS_FLOAT_1(log2, __builtin_log2f(x))
MS_FLOAT_1(log10, __builtin_log10f(x))
MS_FLOAT_1(rint, __builtin_rintf(x))
MS_FLOAT_1(round, __builtin_roundf(x))
MS_FLOAT_1(rsqrt, 1.0f / __builtin_sqrtf(x))
MS_FLOAT_1(sin, __builtin_sinf(x))
MS_FLOAT_1(sinh, __builtin_sinhf(x))
MS_FLOAT_1(sinpi, ms::sin_of_pi(x))
MS_FLOAT_1(sqrt, __builtin_sqrtf(x))
MS_FLOAT_1(tan, __builtin_tanf(x))
MS_FLOAT_1(tanh, __builtin_tanhf(x))
MS_FLOAT_1(tanpi, ms::sin_of_pi(x) / ms::cos_of_pi(x))
MS_FLOAT_1(trunc, __builtin_truncf(x))
MS_FLOAT_1(saturate, __builtin_fminf(__builtin_fmaxf(x, 0.0f), 1.0f))
MS_FLOAT_1(sign, x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x == 0.0f ? x : 0.0f)

MS_FLOAT_2(atan2, __builtin_atan2f(x, y))
MS_FLOAT_2(copysign, __builtin_copysignf(x, y))
MS_FLOAT_2(divide, x / y)
MS_FLOAT_2(fdim, x > y ? x - y : (x != x || y != y) ? ms::nan() : 0.0f)
MS_FLOAT_2(fmax, __builtin_fmaxf(x, y))
MS_FLOAT_2(fmin, __builtin_fminf(x, y))
MS_FLOAT_2(max, __builtin_fmaxf(x, y))
MS_FLOAT_2(min, __builtin_fminf(x, y))
MS_FLOAT_2(fmod, __builtin_fmodf(x, y))
MS_FLOAT_2(pow, __builtin_powf(x, y))
MS_FLOAT_2(powr, x < 0.0f ? ms::nan() : __builtin_powf(x, y))
MS_FLOAT_2(step, y < x ? 0.0f : 1.0f)

MS_FLOAT_3(fmax3, __builtin_fmaxf(x, __builtin_fmaxf(y, z)))
MS_FLOAT_3(fmin3, __builtin_fminf(x, __builtin_fminf(y, z)))
MS_FLOAT_3(fmedian3, __builtin_fmaxf(__builtin_fminf(x, y), __builtin_fminf(__builtin_fmaxf(x, y), z)))
MS_FLOAT_3(max3, __builtin_fmaxf(x, __builtin_fmaxf(y, z)))
MS_FLOAT_3(min3, __builtin_fminf(x, __builtin_fminf(y, z)))
MS_FLOAT_3(median3, __builtin_fmaxf(__builtin_fminf(x, y), __builtin_fminf(__builtin_fmaxf(x, y), z)))
MS_FLOAT_3(clamp, __builtin_fminf(__builtin_fmaxf(x, y), z))
MS_FLOAT_3(mix, x + (y - x) * z)

MS_FLOAT_1(abs, __builtin_fabsf(x))

// The product of two halves is exact in double, so only one rounding differs from a fused operation in half.
MS_INLINE float fma(float x, float y, float z) { return __builtin_fmaf(x, y, z); }
MS_INLINE half fma(half x, half y, half z) { return half(double(x) * double(y) + double(z)); }
MS_SIZES(MS_VECTOR_3, fma, float)
MS_SIZES(MS_VECTOR_3, fma, half)

MS_INLINE float smoothstep(float low, float high, float x) {
  float t = saturate((x - low) / (high - low));
  return t * t * (3.0f - 2.0f * t);
}
MS_INLINE half smoothstep(half low, half high, half x) { return half(smoothstep(float(low), float(high), float(x))); }
MS_SIZES(MS_VECTOR_3, smoothstep, float)
MS_SIZES(MS_VECTOR_3, smoothstep, half)

MS_FLOAT_TEST(isfinite, __builtin_isfinite(x))
MS_FLOAT_TEST(isinf, __builtin_isinf(x))
MS_FLOAT_TEST(isnan, x != x)
MS_INLINE bool isnormal(float x) { return __builtin_isnormal(x); }
MS_INLINE bool isnormal(half x) { return __builtin_isfinite(float(x)) && __builtin_fabsf(x) >= 0x1p-14f; }
MS_SIZES(MS_VECTOR_TEST, isnormal, float)
MS_SIZES(MS_VECTOR_TEST, isnormal, half)
MS_FLOAT_TEST(signbit, __builtin_signbit(x))

#define MS_ORDER_VECTOR(T, N)                                               \
  MS_INLINE vec<bool, N> isordered(vec<T, N> a, vec<T, N> b) {              \
    vec<bool, N> r;                                                         \
    for (int i = 0; i < N; ++i) r[i] = isordered(a[i], b[i]);               \
    return r;                                                               \
  }                                                                         \
  MS_INLINE vec<bool, N> isunordered(vec<T, N> a, vec<T, N> b) {            \
    vec<bool, N> r;                                                         \
    for (int i = 0; i < N; ++i) r[i] = isunordered(a[i], b[i]);             \
    return r;                                                               \
  }
#define MS_ORDER(T)                                                         \
  MS_INLINE bool isordered(T a, T b) { return a == a && b == b; }           \
  MS_INLINE bool isunordered(T a, T b) { return !isordered(a, b); }         \
  MS_SIZES(MS_ORDER_VECTOR, T)
MS_ORDER(float)
MS_ORDER(half)
#undef MS_ORDER
#undef MS_ORDER_VECTOR

// Functions with a second result, a rounded integer or an integer argument.
namespace ms_one {
MS_INLINE float modf(float x, float &whole) {
  whole = __builtin_truncf(x);
  return __builtin_isinf(x) ? __builtin_copysignf(0.0f, x) : __builtin_copysignf(x - whole, x);
}
MS_INLINE float frexp(float x, int &exponent) { return __builtin_frexpf(x, &exponent); }
MS_INLINE float sincos(float x, float &c) {
  c = __builtin_cosf(x);
  return __builtin_sinf(x);
}
}  // namespace ms_one
#define MS_RESULTS_VECTOR(T, N)                                                                \
  MS_INLINE vec<T, N> modf(vec<T, N> x, vec<T, N> &whole) {                                    \
    vec<T, N> r;                                                                               \
    for (int i = 0; i < N; ++i) {                                                              \
      T second;                                                                                \
      r[i] = modf(x[i], second);                                                               \
      whole[i] = second;                                                                       \
    }                                                                                          \
    return r;                                                                                  \
  }                                                                                            \
  MS_INLINE vec<T, N> sincos(vec<T, N> x, vec<T, N> &c) {                                      \
    vec<T, N> r;                                                                               \
    for (int i = 0; i < N; ++i) {                                                              \
      T second;                                                                                \
      r[i] = sincos(x[i], second);                                                             \
      c[i] = second;                                                                           \
    }                                                                                          \
    return r;                                                                                  \
  }                                                                                            \
  MS_INLINE vec<T, N> frexp(vec<T, N> x, vec<int, N> &exponent) {                              \
    vec<T, N> r;                                                                               \
    for (int i = 0; i < N; ++i) {                                                              \
      int second;                                                                              \
      r[i] = frexp(x[i], second);                                                              \
      exponent[i] = second;                                                                    \
    }                                                                                          \
    return r;                                                                                  \
  }                                                                                            \
  MS_INLINE vec<T, N> ldexp(vec<T, N> x, vec<int, N> k) {                                      \
    vec<T, N> r;                                                                               \
    for (int i = 0; i < N; ++i) r[i] = ldexp(x[i], k[i]);                                      \
    return r;                                                                                  \
  }                                                                                            \
  MS_INLINE vec<int, N> ilogb(vec<T, N> x) {                                                   \
    vec<int, N> r;                                                                             \
    for (int i = 0; i < N; ++i) r[i] = ilogb(x[i]);                                            \
    return r;                                                                                  \
  }
#define MS_RESULTS(T)                                                                          \
  MS_INLINE T modf(T x, T &whole) {                                                            \
    float w;                                                                                   \
    float f = ms_one::modf(float(x), w);                                                       \
    whole = T(w);                                                                              \
    return T(f);                                                                               \
  }                                                                                            \
  MS_INLINE T sincos(T x, T &c) {                                                              \
    float w;                                                                                   \
    float s = ms_one::sincos(float(x), w);                                                     \
    c = T(w);                                                                                  \
    return T(s);                                                                               \
  }                                                                                            \
  MS_INLINE T frexp(T x, int &exponent) { return T(ms_one::frexp(float(x), exponent)); }       \
  MS_INLINE T ldexp(T x, int k) { return T(__builtin_ldexpf(float(x), k)); }                   \
  MS_INLINE int ilogb(T x) { return __builtin_ilogbf(float(x)); }                              \
  MS_SIZES(MS_RESULTS_VECTOR, T)
MS_RESULTS(float)
MS_RESULTS(half)
#undef MS_RESULTS
#undef MS_RESULTS_VECTOR

MS_INLINE float nextafter(float x, float y) { return __builtin_nextafterf(x, y); }
MS_INLINE half nextafter(half x, half y) {
  if (x != x || y != y) return half(ms::nan());
  if (x == y) return y;
  if (x == half(0)) return copysign(half(0x1p-24f), y);
  short bits = __builtin_bit_cast(short, x);
  return __builtin_bit_cast(half, short(bits + ((x < y) == (bits >= 0) ? 1 : -1)));
}
MS_SIZES(MS_VECTOR_2, nextafter, float)
MS_SIZES(MS_VECTOR_2, nextafter, half)

// any, all, not, select.
MS_INLINE bool any(bool x) { return x; }
MS_INLINE bool all(bool x) { return x; }
#define MS_ANY(T, N)                                          \
  MS_INLINE bool any(vec<T, N> v) {                           \
    bool r = false;                                           \
    for (int i = 0; i < N; ++i) r |= v[i];                    \
    return r;                                                 \
  }                                                           \
  MS_INLINE bool all(vec<T, N> v) {                           \
    bool r = true;                                            \
    for (int i = 0; i < N; ++i) r &= v[i];                    \
    return r;                                                 \
  }
MS_SIZES(MS_ANY, bool)
#undef MS_ANY

#define MS_SELECT_VECTOR(T, N)                                                     \
  MS_INLINE vec<T, N> select(vec<T, N> a, vec<T, N> b, vec<bool, N> c) {           \
    vec<T, N> r;                                                                   \
    for (int i = 0; i < N; ++i) r[i] = c[i] ? b[i] : a[i];                         \
    return r;                                                                      \
  }
#define MS_SELECT(T)                                                               \
  MS_INLINE T select(T a, T b, bool c) { return c ? b : a; }                       \
  MS_SIZES(MS_SELECT_VECTOR, T)
MS_SELECT(float)
MS_SELECT(half)
MS_SELECT(bfloat)
MS_SELECT(char)
MS_SELECT(uchar)
MS_SELECT(short)
MS_SELECT(ushort)
MS_SELECT(int)
MS_SELECT(uint)
MS_SELECT(long)
MS_SELECT(ulong)
MS_SELECT(bool)
#undef MS_SELECT
#undef MS_SELECT_VECTOR

// Geometry. Sums go from the first component to the last, in float.
#define MS_GEOMETRY(T, N)                                                                             \
  MS_INLINE T dot(vec<T, N> a, vec<T, N> b) {                                                         \
    float r = float(a[0]) * float(b[0]);                                                              \
    for (int i = 1; i < N; ++i) r += float(a[i]) * float(b[i]);                                       \
    return T(r);                                                                                      \
  }                                                                                                   \
  MS_INLINE T length_squared(vec<T, N> a) { return dot(a, a); }                                       \
  MS_INLINE T distance_squared(vec<T, N> a, vec<T, N> b) { return dot(a - b, a - b); }                \
  MS_INLINE T length(vec<T, N> a) {                                                                   \
    float r = 0.0f;                                                                                   \
    for (int i = 0; i < N; ++i) r += float(a[i]) * float(a[i]);                                       \
    return T(__builtin_sqrtf(r));                                                                     \
  }                                                                                                   \
  MS_INLINE T distance(vec<T, N> a, vec<T, N> b) { return length(a - b); }                            \
  MS_INLINE vec<T, N> normalize(vec<T, N> a) { return a * rsqrt(dot(a, a)); }                         \
  MS_INLINE vec<T, N> reflect(vec<T, N> i, vec<T, N> n) { return i - T(2) * dot(n, i) * n; }          \
  MS_INLINE vec<T, N> faceforward(vec<T, N> n, vec<T, N> i, vec<T, N> reference) {                    \
    return dot(reference, i) < T(0) ? n : -n;                                                         \
  }                                                                                                   \
  MS_INLINE vec<T, N> refract(vec<T, N> i, vec<T, N> n, T eta) {                                      \
    T d = dot(n, i);                                                                                  \
    T k = T(1) - eta * eta * (T(1) - d * d);                                                          \
    return k < T(0) ? vec<T, N>(T(0)) : eta * i - (eta * d + sqrt(k)) * n;                            \
  }
#define MS_CROSS(T)                                                                                   \
  MS_INLINE vec<T, 3> cross(vec<T, 3> a, vec<T, 3> b) {                                               \
    return vec<T, 3>{T(a[1] * b[2] - a[2] * b[1]), T(a[2] * b[0] - a[0] * b[2]),                      \
                     T(a[0] * b[1] - a[1] * b[0])};                                                   \
  }
MS_SIZES(MS_GEOMETRY, float)
MS_SIZES(MS_GEOMETRY, half)
MS_CROSS(float)
MS_CROSS(half)
#undef MS_GEOMETRY
#undef MS_CROSS
}  // namespace metal
