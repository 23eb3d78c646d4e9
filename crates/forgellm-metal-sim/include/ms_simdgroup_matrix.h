// metal_simdgroup_matrix: 8x8 matrices shared by the lanes of a simdgroup.
//
// Lane 0 holds all 64 elements and does the work; the other lanes only count the operation, so an operation needs no
// exchange. thread_elements() spreads a matrix over the lanes (two elements each); the next operation gathers it.
#pragma once
#include "ms_simdgroup.h"

namespace metal {
template <typename T, int Columns, int Rows>
struct simdgroup_matrix;
}

namespace ms {
typedef metal::vec<float, 2> pair_of_float;

// Apple's layout: where the two elements of a lane lie.
MS_INLINE uint row_of_lane(uint lane) { return (lane / 4 & 4) + lane / 2 % 4; }
MS_INLINE uint column_of_lane(uint lane) { return (lane / 4 & 2) * 2 + lane % 2 * 2; }

template <typename T>
struct matrix {
  // Of lane 0 while not spread.
  alignas(32) T elements[64];
  metal::vec<T, 2> own;
  // A matrix that nothing was assigned to is undefined in each lane, so that its lanes need not meet before they set
  // their elements; one that is initialised to zero (`= {}`) is zero in each lane.
  bool spread = true;
};

// Counts an operation; whether the caller is the lane that performs it.
MS_INLINE bool performs() {
  ms_thread *thread = current();
  thread->matrix_operations += 1;
  return thread->lane == 0;
}

template <typename T>
MS_PLACE void spread(matrix<T> &m) {
  MS_STAY_CONVERGENT;
  // Lane 0 publishes where its elements are; whichever lane goes on first hands all lanes their two, while lane 0
  // cannot have changed them yet.
  struct shared {
    T *elements;
    T pair[2];
    uint ready;
  };
  shared value = {m.elements, {T(0), T(0)}, 0};
  uint active;
  char *slots = static_cast<char *>(
      const_cast<void *>(ms_host_table->exchange(&value, sizeof(value), &active, MS_RETURN_ADDRESS)));
  if (!(active & 1)) ms_host_table->fail("thread_elements() while lane 0 takes no part", MS_RETURN_ADDRESS);
  shared &leader = *reinterpret_cast<shared *>(slots);
  if (!leader.ready) {
    for (uint lane = 0; lane < lanes; ++lane) {
      T *source = leader.elements + row_of_lane(lane) * 8 + column_of_lane(lane);
      shared &slot = *reinterpret_cast<shared *>(slots + lane * slot_bytes);
      slot.pair[0] = source[0];
      slot.pair[1] = source[1];
    }
    leader.ready = 1;
  }
  shared &own = *reinterpret_cast<shared *>(slots + current()->lane * slot_bytes);
  m.own[0] = own.pair[0];
  m.own[1] = own.pair[1];
  m.spread = true;
}

template <typename T>
MS_PLACE void gather(matrix<T> &m) {
  MS_STAY_CONVERGENT;
  struct {
    T pair[2];
  } value = {{m.own[0], m.own[1]}};
  uint active;
  char *slots = static_cast<char *>(
      const_cast<void *>(ms_host_table->exchange(&value, sizeof(value), &active, MS_RETURN_ADDRESS)));
  if (active != 0xffffffff)
    ms_host_table->fail("a simdgroup matrix operation that not all 32 lanes perform", MS_RETURN_ADDRESS);
  if (current()->lane == 0) {
    for (uint lane = 0; lane < lanes; ++lane) {
      T *pair = reinterpret_cast<T *>(slots + lane * slot_bytes);
      T *target = m.elements + row_of_lane(lane) * 8 + column_of_lane(lane);
      target[0] = pair[0];
      target[1] = pair[1];
    }
  }
  m.spread = false;
}

#if MS_TRACED
// Reports a whole matrix row by row, as accesses of the place that asked for it.
MS_PLACE void trace_matrix(uint kind, const void *first, ulong row_bytes, uint bytes) {
  ms_host_table->matrix(kind, MS_RETURN_ADDRESS);
  if (kind == 2) return;
  for (ulong r = 0; r < 8; ++r) {
    const char *at = static_cast<const char *>(first) + r * row_bytes;
    if (kind == 0) {
      ms_host_table->load(at, bytes, MS_RETURN_ADDRESS);
    } else {
      ms_host_table->store(const_cast<char *>(at), bytes, MS_RETURN_ADDRESS);
    }
  }
}
#define MS_TRACE_MATRIX(kind, first, row_bytes, bytes) ms::trace_matrix(kind, first, row_bytes, bytes)
#else
#define MS_TRACE_MATRIX(kind, first, row_bytes, bytes) (void)0
#endif

template <typename T>
MS_SHARED void load_elements(T *elements, const T *first, ulong stride, bool transpose) {
  if (!transpose) {
    for (ulong r = 0; r < 8; ++r) __builtin_memcpy(elements + r * 8, first + r * stride, 8 * sizeof(T));
    return;
  }
  for (ulong r = 0; r < 8; ++r)
    for (ulong k = 0; k < 8; ++k) elements[k * 8 + r] = first[r * stride + k];
}
template <typename T>
MS_SHARED void store_elements(T *first, const T *elements, ulong stride, bool transpose) {
  if (!transpose) {
    for (ulong r = 0; r < 8; ++r) __builtin_memcpy(first + r * stride, elements + r * 8, 8 * sizeof(T));
    return;
  }
  for (ulong r = 0; r < 8; ++r)
    for (ulong k = 0; k < 8; ++k) first[r * stride + k] = elements[k * 8 + r];
}
template <typename T>
MS_SHARED void fill_elements(T *elements, T diagonal, T other) {
  for (uint i = 0; i < 64; ++i) elements[i] = i % 9 == 0 ? diagonal : other;
}

typedef float row __attribute__((ext_vector_type(8)));
template <typename T>
MS_INLINE row load_row(const T *from) {
  typedef T narrow __attribute__((ext_vector_type(8), aligned(sizeof(T))));
  return __builtin_convertvector(*reinterpret_cast<const narrow *>(from), row);
}
template <>
inline __attribute__((always_inline)) row load_row<bfloat>(const bfloat *from) {
  typedef ushort narrow __attribute__((ext_vector_type(8), aligned(2)));
  typedef uint bits __attribute__((ext_vector_type(8)));
  return __builtin_bit_cast(row, __builtin_convertvector(*reinterpret_cast<const narrow *>(from), bits) << 16);
}

// d = a * b + c, summed over k in order and rounded to T once at the end.
template <typename T, typename A, typename B, typename C>
MS_SHARED void multiply_accumulate(T *d, const A *a, const B *b, const C *c) {
  row rows[8];
  for (int k = 0; k < 8; ++k) rows[k] = load_row(b + k * 8);
  row result[8];
  for (int r = 0; r < 8; ++r) {
    row total = c ? load_row(c + r * 8) : row(0.0f);
    row left = load_row(a + r * 8);
    for (int k = 0; k < 8; ++k) total = total + rows[k] * left[k];
    result[r] = total;
  }
  for (int r = 0; r < 8; ++r)
    for (int k = 0; k < 8; ++k) d[r * 8 + k] = T(result[r][k]);
}
}  // namespace ms

namespace metal {
template <typename T>
struct simdgroup_matrix<T, 8, 8> {
  static_assert(is_floating_point_v<T>, "simdgroup matrices hold float, half or bfloat");
  typedef vec<T, 2> storage_type;
  mutable ms::matrix<T> ms_matrix;

  simdgroup_matrix() = default;
  // A diagonal matrix.
  MS_INLINE_MEMBER explicit simdgroup_matrix(T diagonal) {
    ms_matrix.spread = false;
    if (ms::performs()) ms::fill_elements(ms_matrix.elements, diagonal, T(0));
  }
  MS_INLINE_MEMBER vec<T, 2> &thread_elements() {
    if (!ms_matrix.spread) ms::spread(ms_matrix);
    return ms_matrix.own;
  }
  MS_INLINE_MEMBER const vec<T, 2> &thread_elements() const {
    if (!ms_matrix.spread) ms::spread(ms_matrix);
    return ms_matrix.own;
  }
  // The elements as lane 0 needs them.
  MS_INLINE_MEMBER T *ms_whole() const {
    if (__builtin_expect(ms_matrix.spread, 0)) ms::gather(ms_matrix);
    return ms_matrix.elements;
  }
};

typedef simdgroup_matrix<float, 8, 8> simdgroup_float8x8;
typedef simdgroup_matrix<half, 8, 8> simdgroup_half8x8;
typedef simdgroup_matrix<bfloat, 8, 8> simdgroup_bfloat8x8;

template <typename T, int Columns, int Rows = Columns>
MS_INLINE simdgroup_matrix<T, Columns, Rows> make_filled_simdgroup_matrix(T value) {
  simdgroup_matrix<T, Columns, Rows> r;
  r.ms_matrix.spread = false;
  if (ms::performs()) ms::fill_elements(r.ms_matrix.elements, value, value);
  return r;
}
template <typename T, int Columns, int Rows = Columns>
MS_INLINE simdgroup_matrix<T, Columns, Rows> make_diagonal_simdgroup_matrix(T value) {
  return simdgroup_matrix<T, Columns, Rows>(value);
}

#if !MS_SPACES
template <typename T>
MS_INLINE void simdgroup_load(simdgroup_matrix<T, 8, 8> &d, const T *source, ulong elements_per_row = 8,
                              ulong2 origin = 0, bool transpose = false) {
  d.ms_matrix.spread = false;
  if (!ms::performs()) return;
  const T *first = source + origin[1] * elements_per_row + origin[0];
  MS_TRACE_MATRIX(0, first, elements_per_row * sizeof(T), 8 * sizeof(T));
  ms::load_elements(d.ms_matrix.elements, first, elements_per_row, transpose);
}
template <typename T>
MS_INLINE void simdgroup_store(const simdgroup_matrix<T, 8, 8> &a, T *target, ulong elements_per_row = 8,
                               ulong2 origin = 0, bool transpose = false) {
  T *elements = a.ms_whole();
  if (!ms::performs()) return;
  T *first = target + origin[1] * elements_per_row + origin[0];
  MS_TRACE_MATRIX(1, first, elements_per_row * sizeof(T), 8 * sizeof(T));
  ms::store_elements(first, elements, elements_per_row, transpose);
}
#endif

template <typename T, typename A, typename B, typename C>
MS_INLINE void simdgroup_multiply_accumulate(simdgroup_matrix<T, 8, 8> &d, const simdgroup_matrix<A, 8, 8> &a,
                                             const simdgroup_matrix<B, 8, 8> &b,
                                             const simdgroup_matrix<C, 8, 8> &c) {
  A *left = a.ms_whole();
  B *right = b.ms_whole();
  C *before = c.ms_whole();
  d.ms_matrix.spread = false;
  if (!ms::performs()) return;
  MS_TRACE_MATRIX(2, nullptr, 0, 0);
  ms::multiply_accumulate(d.ms_matrix.elements, left, right, before);
}
template <typename T, typename A, typename B>
MS_INLINE void simdgroup_multiply(simdgroup_matrix<T, 8, 8> &d, const simdgroup_matrix<A, 8, 8> &a,
                                  const simdgroup_matrix<B, 8, 8> &b) {
  A *left = a.ms_whole();
  B *right = b.ms_whole();
  d.ms_matrix.spread = false;
  if (!ms::performs()) return;
  MS_TRACE_MATRIX(2, nullptr, 0, 0);
  ms::multiply_accumulate(d.ms_matrix.elements, left, right, static_cast<const T *>(nullptr));
}
template <typename T>
MS_INLINE simdgroup_matrix<T, 8, 8> operator*(const simdgroup_matrix<T, 8, 8> &a,
                                              const simdgroup_matrix<T, 8, 8> &b) {
  simdgroup_matrix<T, 8, 8> d;
  simdgroup_multiply(d, a, b);
  return d;
}
}  // namespace metal
