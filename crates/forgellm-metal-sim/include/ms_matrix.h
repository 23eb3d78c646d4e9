// metal_matrix: small matrices, stored by columns.
#pragma once
#include "ms_math.h"

namespace metal {
template <typename T, int Columns, int Rows>
struct matrix {
  static_assert(Columns >= 2 && Columns <= 4 && Rows >= 2 && Rows <= 4, "matrices have 2 to 4 columns and rows");
  typedef vec<T, Rows> column;
  column columns[Columns];

  matrix() = default;
  // A diagonal matrix.
  MS_INLINE_MEMBER explicit matrix(T diagonal) {
    for (int c = 0; c < Columns; ++c)
      for (int r = 0; r < Rows; ++r) columns[c][r] = c == r ? diagonal : T(0);
  }
  // All columns.
  template <typename... C, typename = enable_if_t<sizeof...(C) + 1 == Columns>>
  MS_INLINE_MEMBER matrix(column first, C... rest) : columns{first, column(rest)...} {}
  // All elements, column by column.
  template <typename... E, typename = enable_if_t<sizeof...(E) + 2 == Columns * Rows>, typename = void>
  MS_INLINE_MEMBER matrix(T first, T second, E... rest) {
    T all[] = {first, second, T(rest)...};
    for (int i = 0; i < Columns * Rows; ++i) columns[i / Rows][i % Rows] = all[i];
  }
  template <typename U>
  MS_INLINE_MEMBER explicit matrix(const matrix<U, Columns, Rows> &other) {
    for (int c = 0; c < Columns; ++c) columns[c] = column(other[c]);
  }
  template <typename I>
  MS_INLINE_MEMBER column &operator[](I c) {
    return columns[c];
  }
  template <typename I>
  MS_INLINE_MEMBER const column &operator[](I c) const {
    return columns[c];
  }

  friend MS_INLINE_MEMBER matrix operator+(const matrix &a, const matrix &b) {
    matrix m;
    for (int c = 0; c < Columns; ++c) m[c] = a[c] + b[c];
    return m;
  }
  friend MS_INLINE_MEMBER matrix operator-(const matrix &a, const matrix &b) {
    matrix m;
    for (int c = 0; c < Columns; ++c) m[c] = a[c] - b[c];
    return m;
  }
  friend MS_INLINE_MEMBER matrix operator-(const matrix &a) {
    matrix m;
    for (int c = 0; c < Columns; ++c) m[c] = -a[c];
    return m;
  }
  friend MS_INLINE_MEMBER matrix operator*(const matrix &a, T s) {
    matrix m;
    for (int c = 0; c < Columns; ++c) m[c] = a[c] * s;
    return m;
  }
  friend MS_INLINE_MEMBER matrix operator*(T s, const matrix &a) { return a * s; }
  friend MS_INLINE_MEMBER column operator*(const matrix &a, vec<T, Columns> v) {
    column r = a[0] * v[0];
    for (int c = 1; c < Columns; ++c) r = r + a[c] * v[c];
    return r;
  }
  friend MS_INLINE_MEMBER vec<T, Columns> operator*(column v, const matrix &a) {
    vec<T, Columns> r;
    for (int c = 0; c < Columns; ++c) r[c] = dot(v, a[c]);
    return r;
  }
  friend MS_INLINE_MEMBER bool operator==(const matrix &a, const matrix &b) {
    bool same = true;
    for (int c = 0; c < Columns; ++c) same = same && all(a[c] == b[c]);
    return same;
  }
  friend MS_INLINE_MEMBER bool operator!=(const matrix &a, const matrix &b) { return !(a == b); }
  MS_INLINE_MEMBER matrix &operator+=(const matrix &b) { return *this = *this + b; }
  MS_INLINE_MEMBER matrix &operator-=(const matrix &b) { return *this = *this - b; }
  MS_INLINE_MEMBER matrix &operator*=(T s) { return *this = *this * s; }
  MS_INLINE_MEMBER matrix &operator*=(const matrix<T, Columns, Columns> &b) { return *this = *this * b; }
};

template <typename T, int Columns, int Inner, int Rows>
MS_INLINE matrix<T, Columns, Rows> operator*(const matrix<T, Inner, Rows> &a, const matrix<T, Columns, Inner> &b) {
  matrix<T, Columns, Rows> m;
  for (int c = 0; c < Columns; ++c) m[c] = a * b[c];
  return m;
}
template <typename T, int Columns, int Rows>
MS_INLINE matrix<T, Rows, Columns> transpose(const matrix<T, Columns, Rows> &a) {
  matrix<T, Rows, Columns> m;
  for (int c = 0; c < Columns; ++c)
    for (int r = 0; r < Rows; ++r) m[r][c] = a[c][r];
  return m;
}
template <typename T>
MS_INLINE T determinant(const matrix<T, 2, 2> &a) {
  return a[0][0] * a[1][1] - a[1][0] * a[0][1];
}
template <typename T>
MS_INLINE T determinant(const matrix<T, 3, 3> &a) {
  return dot(a[0], cross(a[1], a[2]));
}
template <typename T>
MS_INLINE T determinant(const matrix<T, 4, 4> &a) {
  T total = 0;
  for (int c = 0; c < 4; ++c) {
    matrix<T, 3, 3> minor;
    for (int i = 0, j = 0; i < 4; ++i)
      if (i != c) minor[j++] = vec<T, 3>(a[i][1], a[i][2], a[i][3]);
    T term = a[c][0] * determinant(minor);
    total = c % 2 == 0 ? total + term : total - term;
  }
  return total;
}

#define MS_MATRIX_NAMES(T)             \
  typedef matrix<T, 2, 2> T##2x2;      \
  typedef matrix<T, 2, 3> T##2x3;      \
  typedef matrix<T, 2, 4> T##2x4;      \
  typedef matrix<T, 3, 2> T##3x2;      \
  typedef matrix<T, 3, 3> T##3x3;      \
  typedef matrix<T, 3, 4> T##3x4;      \
  typedef matrix<T, 4, 2> T##4x2;      \
  typedef matrix<T, 4, 3> T##4x3;      \
  typedef matrix<T, 4, 4> T##4x4;
MS_MATRIX_NAMES(float)
MS_MATRIX_NAMES(half)
MS_MATRIX_NAMES(bfloat)
#undef MS_MATRIX_NAMES
}  // namespace metal

#define MS_MATRIX_GLOBAL(T) \
  using metal::T##2x2;      \
  using metal::T##2x3;      \
  using metal::T##2x4;      \
  using metal::T##3x2;      \
  using metal::T##3x3;      \
  using metal::T##3x4;      \
  using metal::T##4x2;      \
  using metal::T##4x3;      \
  using metal::T##4x4;
MS_MATRIX_GLOBAL(float)
MS_MATRIX_GLOBAL(half)
MS_MATRIX_GLOBAL(bfloat)
#undef MS_MATRIX_GLOBAL
