// vec<T, N>: the vectors of the language, with its constructors, swizzles and comparison results.
//
// A vector is a class around clang's extended vector. Swizzles are properties: a read calls `ms_get_xy`, a write
// `ms_put_xy`; both touch only the components that they name, so that a traced build sees the accesses the kernel asked
// for.
#pragma once
#include "ms_limits.h"
#include "ms_swizzle.h"

namespace metal {
template <typename T, int N>
struct vec;
template <typename T, int N>
struct packed_vec;

template <typename T>
struct ms_element {
  typedef T type;
};
template <>
struct ms_element<bool> {
  typedef unsigned char type;  // 0 or 1
};

// Item `i` of a list in braces; zero for what the list leaves out.
template <typename T>
constexpr T ms_item(std::initializer_list<T> list, unsigned long i) {
  return i < list.size() ? list.begin()[i] : T(0);
}

// What every size has. `native` is clang's vector of the same size and alignment.
#define MS_VECTOR_COMMON(N)                                                                                \
  typedef T element_type;                                                                                  \
  typedef typename ms_element<T>::type stored __attribute__((ext_vector_type(N)));                         \
  static constexpr int size = N;                                                                           \
  stored native;                                                                                           \
  vec() = default;                                                                                         \
  template <typename U>                                                                                    \
  MS_INLINE_MEMBER explicit vec(vec<U, N> other) {                                                         \
    for (int i = 0; i < N; ++i) (*this)[i] = ms_cast<T>(U(other[i]));                                      \
  }                                                                                                        \
  template <typename U, typename = enable_if_t<!is_same_v<T, U>>>                                          \
  MS_INLINE_MEMBER explicit vec(packed_vec<U, N> other) {                                                  \
    for (int i = 0; i < N; ++i) (*this)[i] = ms_cast<T>(U(other[i]));                                      \
  }                                                                                                        \
  static MS_INLINE_MEMBER constexpr vec of(stored v) {                                                     \
    vec r{};                                                                                               \
    r.native = v;                                                                                          \
    return r;                                                                                              \
  }                                                                                                        \
  template <typename I>                                                                                    \
  MS_INLINE_MEMBER T &operator[](I i) {                                                                    \
    return reinterpret_cast<T *>(this)[i];                                                                 \
  }                                                                                                        \
  template <typename I>                                                                                    \
  MS_INLINE_MEMBER const T &operator[](I i) const {                                                        \
    return reinterpret_cast<const T *>(this)[i];                                                           \
  }

#define MS_INLINE_MEMBER __attribute__((always_inline))
#define MS_BINARY(op)                                                                                      \
  friend MS_INLINE_MEMBER constexpr vec operator op(vec a, vec b) { return vec::of(a.native op b.native); }         \
  MS_INLINE_MEMBER vec &operator op##=(vec b) {                                                            \
    native = native op b.native;                                                                           \
    return *this;                                                                                          \
  }
#define MS_COMPARE(op, N)                                                                                  \
  friend MS_INLINE_MEMBER vec<bool, N> operator op(vec a, vec b) {                                         \
    vec<bool, N> r;                                                                                        \
    for (int i = 0; i < N; ++i) r[i] = a[i] op b[i];                                                       \
    return r;                                                                                              \
  }
#define MS_OPERATORS(N)                                                                                    \
  MS_BINARY(+)                                                                                             \
  MS_BINARY(-)                                                                                             \
  MS_BINARY(*)                                                                                             \
  MS_BINARY(/)                                                                                             \
  MS_BINARY(%)                                                                                             \
  MS_BINARY(&)                                                                                             \
  MS_BINARY(|)                                                                                             \
  MS_BINARY(^)                                                                                             \
  MS_BINARY(<<)                                                                                            \
  MS_BINARY(>>)                                                                                            \
  MS_COMPARE(<, N)                                                                                         \
  MS_COMPARE(>, N)                                                                                         \
  MS_COMPARE(<=, N)                                                                                        \
  MS_COMPARE(>=, N)                                                                                        \
  MS_COMPARE(==, N)                                                                                        \
  MS_COMPARE(!=, N)                                                                                        \
  MS_COMPARE(&&, N)                                                                                        \
  MS_COMPARE(||, N)                                                                                        \
  friend MS_INLINE_MEMBER vec operator+(vec a) { return a; }                                               \
  friend MS_INLINE_MEMBER constexpr vec operator-(vec a) { return vec::of(-a.native); }                             \
  friend MS_INLINE_MEMBER vec operator~(vec a) { return vec::of(~a.native); }                                   \
  friend MS_INLINE_MEMBER vec<bool, N> operator!(vec a) {                                                  \
    vec<bool, N> r;                                                                                        \
    for (int i = 0; i < N; ++i) r[i] = !a[i];                                                              \
    return r;                                                                                              \
  }                                                                                                        \
  MS_INLINE_MEMBER vec &operator++() { return *this += T(1); }                                             \
  MS_INLINE_MEMBER vec &operator--() { return *this -= T(1); }                                             \
  MS_INLINE_MEMBER vec operator++(int) {                                                                   \
    vec old = *this;                                                                                       \
    *this += T(1);                                                                                         \
    return old;                                                                                            \
  }                                                                                                        \
  MS_INLINE_MEMBER vec operator--(int) {                                                                   \
    vec old = *this;                                                                                       \
    *this -= T(1);                                                                                         \
    return old;                                                                                            \
  }

template <typename T>
struct vec<T, 2> {
  MS_VECTOR_COMMON(2)
  MS_INLINE_MEMBER constexpr vec(T s) : native{s, s} {}
  MS_INLINE_MEMBER constexpr vec(T x, T y) : native{x, y} {}
  MS_INLINE_MEMBER constexpr vec(std::initializer_list<T> l) : native{ms_item(l, 0), ms_item(l, 1)} {}
  MS_OPERATORS(2)
  MS_SWIZZLES_OF_2
};

template <typename T>
struct vec<T, 3> {
  MS_VECTOR_COMMON(3)
  MS_INLINE_MEMBER constexpr vec(T s) : native{s, s, s} {}
  MS_INLINE_MEMBER constexpr vec(T x, T y, T z) : native{x, y, z} {}
  MS_INLINE_MEMBER constexpr vec(std::initializer_list<T> l)
      : native{ms_item(l, 0), ms_item(l, 1), ms_item(l, 2)} {}
  MS_INLINE_MEMBER vec(vec<T, 2> a, T b) : vec(a[0], a[1], b) {}
  MS_INLINE_MEMBER vec(T a, vec<T, 2> b) : vec(a, b[0], b[1]) {}
  MS_OPERATORS(3)
  MS_SWIZZLES_OF_3
};

template <typename T>
struct vec<T, 4> {
  MS_VECTOR_COMMON(4)
  MS_INLINE_MEMBER constexpr vec(T s) : native{s, s, s, s} {}
  MS_INLINE_MEMBER constexpr vec(T x, T y, T z, T w) : native{x, y, z, w} {}
  MS_INLINE_MEMBER constexpr vec(std::initializer_list<T> l)
      : native{ms_item(l, 0), ms_item(l, 1), ms_item(l, 2), ms_item(l, 3)} {}
  MS_INLINE_MEMBER vec(vec<T, 2> a, T b, T c) : vec(a[0], a[1], b, c) {}
  MS_INLINE_MEMBER vec(T a, vec<T, 2> b, T c) : vec(a, b[0], b[1], c) {}
  MS_INLINE_MEMBER vec(T a, T b, vec<T, 2> c) : vec(a, b, c[0], c[1]) {}
  MS_INLINE_MEMBER vec(vec<T, 2> a, vec<T, 2> b) : vec(a[0], a[1], b[0], b[1]) {}
  MS_INLINE_MEMBER vec(vec<T, 3> a, T b) : vec(a[0], a[1], a[2], b) {}
  MS_INLINE_MEMBER vec(T a, vec<T, 3> b) : vec(a, b[0], b[1], b[2]) {}
  MS_OPERATORS(4)
  MS_SWIZZLES_OF_4
};
#undef MS_BINARY
#undef MS_COMPARE
#undef MS_OPERATORS
#undef MS_VECTOR_COMMON

// Vectors in memory with the alignment of their elements.
#define MS_PACKED_COMMON(N)                                                                   \
  T elements[N];                                                                              \
  packed_vec() = default;                                                                     \
  MS_INLINE_MEMBER packed_vec(vec<T, N> v) {                                                  \
    for (int i = 0; i < N; ++i) elements[i] = v[i];                                           \
  }                                                                                           \
  template <typename U>                                                                       \
  MS_INLINE_MEMBER explicit packed_vec(vec<U, N> v) : packed_vec(vec<T, N>(v)) {}             \
  template <typename U, typename = enable_if_t<!is_same_v<T, U>>>                             \
  MS_INLINE_MEMBER explicit packed_vec(packed_vec<U, N> v) : packed_vec(vec<T, N>(v)) {}      \
  MS_INLINE_MEMBER packed_vec(T s) : packed_vec(vec<T, N>(s)) {}                              \
  MS_INLINE_MEMBER operator vec<T, N>() const {                                               \
    vec<T, N> r;                                                                              \
    for (int i = 0; i < N; ++i) r[i] = elements[i];                                           \
    return r;                                                                                 \
  }                                                                                           \
  template <typename I>                                                                       \
  MS_INLINE_MEMBER T &operator[](I i) {                                                       \
    return elements[i];                                                                       \
  }                                                                                           \
  template <typename I>                                                                       \
  MS_INLINE_MEMBER const T &operator[](I i) const {                                           \
    return elements[i];                                                                       \
  }                                                                                           \
  MS_PACKED_OPERATOR(+, N)                                                                    \
  MS_PACKED_OPERATOR(-, N)                                                                    \
  MS_PACKED_OPERATOR(*, N)                                                                    \
  MS_PACKED_OPERATOR(/, N)
#define MS_PACKED_OPERATOR(op, N)                                                                          \
  friend MS_INLINE_MEMBER vec<T, N> operator op(packed_vec a, packed_vec b) {                              \
    return vec<T, N>(a) op vec<T, N>(b);                                                                   \
  }                                                                                                        \
  MS_INLINE_MEMBER packed_vec &operator op##=(vec<T, N> b) { return *this = vec<T, N>(*this) op b; }
template <typename T>
struct packed_vec<T, 2> {
  MS_PACKED_COMMON(2)
  MS_INLINE_MEMBER packed_vec(T x, T y) : elements{x, y} {}
  MS_SWIZZLES_OF_2
};
template <typename T>
struct packed_vec<T, 3> {
  MS_PACKED_COMMON(3)
  MS_INLINE_MEMBER packed_vec(T x, T y, T z) : elements{x, y, z} {}
  MS_SWIZZLES_OF_3
};
template <typename T>
struct packed_vec<T, 4> {
  MS_PACKED_COMMON(4)
  MS_INLINE_MEMBER packed_vec(T x, T y, T z, T w) : elements{x, y, z, w} {}
  MS_SWIZZLES_OF_4
};
#undef MS_PACKED_COMMON
#undef MS_PACKED_OPERATOR
}  // namespace metal
