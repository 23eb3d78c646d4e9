// vec<T, N>: the names of vectors, what types say of them, and casts that keep bits.
#pragma once
#if MS_SPACES
#include "ms_vector_native.h"
#else
#include "ms_vector_class.h"
#endif

namespace metal {
template <typename T>
struct ms_shape {
  typedef T scalar;
  static constexpr size_t elements = 0;
};
template <typename T, int N>
struct ms_shape<vec<T, N>> {
  typedef T scalar;
  static constexpr size_t elements = N;
};
#if !MS_SPACES
template <typename T, int N>
struct ms_shape<packed_vec<T, N>> : ms_shape<vec<T, N>> {};
#endif
// 0 for what is not a vector.
template <typename T>
struct vec_elements : integral_constant<size_t, ms_shape<remove_cv_t<T>>::elements> {};
// Kernels in the wild specialise this name for their own types.
template <typename T>
struct _make_scalar_impl {
  typedef typename ms_shape<T>::scalar type;
};
template <typename T>
struct make_scalar : _make_scalar_impl<remove_cv_t<T>> {};
template <typename T>
using make_scalar_t = typename make_scalar<T>::type;
template <typename T>
struct is_vector : bool_constant<ms_shape<remove_cv_t<T>>::elements != 0> {};
template <typename T>
constexpr bool is_vector_v = is_vector<T>::value;

#define MS_NAMES(T)                  \
  typedef vec<T, 2> T##2;            \
  typedef vec<T, 3> T##3;            \
  typedef vec<T, 4> T##4;
#define MS_PACKED_NAMES(T)                  \
  typedef packed_vec<T, 2> packed_##T##2;   \
  typedef packed_vec<T, 3> packed_##T##3;   \
  typedef packed_vec<T, 4> packed_##T##4;
#define MS_ALL(M) \
  M(bool) M(char) M(uchar) M(short) M(ushort) M(int) M(uint) M(long) M(ulong) M(half) M(bfloat) M(float)
MS_ALL(MS_NAMES)
MS_ALL(MS_PACKED_NAMES)
}  // namespace metal

// The names of vectors are part of the language, not of the library.
#define MS_GLOBAL(T)                                                                       \
  using metal::T##2;                                                                       \
  using metal::T##3;                                                                       \
  using metal::T##4;                                                                       \
  using metal::packed_##T##2;                                                              \
  using metal::packed_##T##3;                                                              \
  using metal::packed_##T##4;
MS_ALL(MS_GLOBAL)
#undef MS_GLOBAL
#undef MS_ALL
#undef MS_NAMES
#undef MS_PACKED_NAMES

// Same bits, other type.
template <typename To, typename From>
MS_INLINE constexpr To as_type(From from) {
  static_assert(sizeof(To) == sizeof(From), "as_type needs types of the same size");
  return __builtin_bit_cast(To, from);
}
namespace metal {
using ::as_type;
}
