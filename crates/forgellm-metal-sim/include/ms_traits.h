// Type traits and limits of namespace metal.
#pragma once
#include "ms_host.h"

typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
typedef _Float16 half;
typedef __bf16 bfloat;
typedef char int8_t;
typedef short int16_t;
typedef int int32_t;
typedef long int64_t;
typedef unsigned long size_t;
typedef long ptrdiff_t;
typedef long intptr_t;

namespace std {
// The compiler looks for this name when it sees `{…}`; vectors zero-fill what such a list leaves out.
template <typename T>
class initializer_list {
  const T *first_ = nullptr;
  unsigned long size_ = 0;

 public:
  constexpr const T *begin() const { return first_; }
  constexpr const T *end() const { return first_ + size_; }
  constexpr unsigned long size() const { return size_; }
};
}  // namespace std

namespace metal {
using ::int8_t;
using ::int16_t;
using ::int32_t;
using ::int64_t;
using ::ptrdiff_t;
using ::size_t;
using ::uint16_t;
using ::uint32_t;
using ::uint64_t;
using ::uint8_t;
using ::uintptr_t;
using ::intptr_t;
using ::bfloat;
using ::half;
using ::uchar;
using ::uint;
using ::ulong;
using ::ushort;

template <typename T, T V>
struct integral_constant {
  static constexpr T value = V;
  typedef T value_type;
  typedef integral_constant type;
  constexpr operator T() const { return V; }
  constexpr T operator()() const { return V; }
};
template <bool B>
using bool_constant = integral_constant<bool, B>;
typedef integral_constant<bool, true> true_type;
typedef integral_constant<bool, false> false_type;

template <bool B, typename T = void>
struct enable_if {};
template <typename T>
struct enable_if<true, T> {
  typedef T type;
};
template <bool B, typename T = void>
using enable_if_t = typename enable_if<B, T>::type;
template <bool B, typename T, typename F>
struct conditional {
  typedef T type;
};
template <typename T, typename F>
struct conditional<false, T, F> {
  typedef F type;
};
template <bool B, typename T, typename F>
using conditional_t = typename conditional<B, T, F>::type;
template <typename T>
struct type_identity {
  typedef T type;
};
template <typename T>
using type_identity_t = typename type_identity<T>::type;

#define MS_TRANSFORM(name)                  \
  template <typename T>                     \
  struct name {                             \
    typedef __##name(T) type;               \
  };                                        \
  template <typename T>                     \
  using name##_t = typename name<T>::type;
MS_TRANSFORM(remove_const)
MS_TRANSFORM(remove_volatile)
MS_TRANSFORM(remove_cv)
MS_TRANSFORM(remove_pointer)
MS_TRANSFORM(remove_extent)
MS_TRANSFORM(remove_all_extents)
MS_TRANSFORM(add_pointer)
MS_TRANSFORM(add_lvalue_reference)
MS_TRANSFORM(add_rvalue_reference)
MS_TRANSFORM(decay)
MS_TRANSFORM(make_signed)
MS_TRANSFORM(make_unsigned)
MS_TRANSFORM(underlying_type)
#undef MS_TRANSFORM
template <typename T>
struct remove_reference {
  typedef __remove_reference_t(T) type;
};
template <typename T>
using remove_reference_t = typename remove_reference<T>::type;
template <typename T>
struct remove_addrspace {
  typedef T type;
};
#if MS_SPACES
#define MS_REMOVE(space)                                  \
  template <typename T>                                   \
  struct remove_addrspace<T space> : remove_addrspace<T> {};
MS_REMOVE(__attribute__((address_space(1))))
MS_REMOVE(__attribute__((address_space(2))) const)
MS_REMOVE(__attribute__((address_space(3))))
#undef MS_REMOVE
#endif
template <typename T>
using remove_addrspace_t = typename remove_addrspace<T>::type;
template <typename T>
struct add_const {
  typedef const T type;
};
template <typename T>
using add_const_t = typename add_const<T>::type;

#define MS_TRAIT(name, ...)                                \
  template <typename T>                                    \
  struct name : bool_constant<__VA_ARGS__> {};             \
  template <typename T>                                    \
  constexpr bool name##_v = name<T>::value;
#define MS_TRAIT2(name, ...)                               \
  template <typename T, typename U>                        \
  struct name : bool_constant<__VA_ARGS__> {};             \
  template <typename T, typename U>                        \
  constexpr bool name##_v = name<T, U>::value;
MS_TRAIT2(is_same, __is_same(T, U))
MS_TRAIT2(is_base_of, __is_base_of(T, U))
MS_TRAIT2(is_convertible, __is_convertible_to(T, U))
MS_TRAIT(is_const, __is_const(T))
MS_TRAIT(is_volatile, __is_volatile(T))
MS_TRAIT(is_void, __is_void(T))
MS_TRAIT(is_pointer, __is_pointer(T))
MS_TRAIT(is_reference, __is_reference(T))
MS_TRAIT(is_lvalue_reference, __is_lvalue_reference(T))
MS_TRAIT(is_rvalue_reference, __is_rvalue_reference(T))
MS_TRAIT(is_array, __is_array(T))
MS_TRAIT(is_function, __is_function(T))
MS_TRAIT(is_enum, __is_enum(T))
MS_TRAIT(is_union, __is_union(T))
MS_TRAIT(is_class, __is_class(T))
MS_TRAIT(is_trivially_copyable, __is_trivially_copyable(T))
MS_TRAIT(is_standard_layout, __is_standard_layout(T))
MS_TRAIT(is_pod, __is_pod(T))
MS_TRAIT(is_fundamental, __is_fundamental(T))
MS_TRAIT(is_scalar, __is_scalar(T))
MS_TRAIT(is_object, __is_object(T))
MS_TRAIT(is_compound, __is_compound(T))
MS_TRAIT(is_integral, __is_integral(T))
MS_TRAIT(is_floating_point, __is_same(__remove_cv(T), float) || __is_same(__remove_cv(T), half) ||
                                __is_same(__remove_cv(T), bfloat))
MS_TRAIT(is_arithmetic, is_integral<T>::value || is_floating_point<T>::value)
MS_TRAIT(is_signed, __is_signed(T) || is_floating_point<T>::value)
MS_TRAIT(is_unsigned, __is_unsigned(T))
#undef MS_TRAIT
#undef MS_TRAIT2

template <typename... B>
struct conjunction : true_type {};
template <typename B, typename... R>
struct conjunction<B, R...> : conditional_t<bool(B::value), conjunction<R...>, B> {};
template <typename... B>
struct disjunction : false_type {};
template <typename B, typename... R>
struct disjunction<B, R...> : conditional_t<bool(B::value), B, disjunction<R...>> {};
// Kernels in the wild use the names with an underscore.
template <typename... B>
struct _conjunction : conjunction<B...> {};
template <typename... B>
struct _disjunction : disjunction<B...> {};
template <typename B>
struct negation : bool_constant<!bool(B::value)> {};
template <typename... B>
constexpr bool conjunction_v = conjunction<B...>::value;
template <typename... B>
constexpr bool disjunction_v = disjunction<B...>::value;
template <typename B>
constexpr bool negation_v = negation<B>::value;

template <typename T>
typename add_rvalue_reference<T>::type declval() noexcept;
template <typename T>
constexpr remove_reference_t<T> &&move(T &&x) noexcept {
  return static_cast<remove_reference_t<T> &&>(x);
}
template <typename T>
constexpr T &&forward(remove_reference_t<T> &x) noexcept {
  return static_cast<T &&>(x);
}
template <typename T>
constexpr T &&forward(remove_reference_t<T> &&x) noexcept {
  return static_cast<T &&>(x);
}
// static_cast, which clang does not have between half and bfloat.
template <typename To, typename From>
MS_INLINE constexpr To ms_cast(From &&from) {
  typedef remove_cv_t<remove_reference_t<From>> F;
  if constexpr ((is_same_v<F, half> && is_same_v<remove_cv_t<To>, bfloat>) ||
                (is_same_v<F, bfloat> && is_same_v<remove_cv_t<To>, half>)) {
    return static_cast<To>(static_cast<float>(from));
  } else {
    return static_cast<To>(forward<From>(from));
  }
}
template <typename To>
MS_INLINE constexpr To ms_cast() {
  return To();
}
template <typename T>
constexpr void swap(T &a, T &b) {
  T t = a;
  a = b;
  b = t;
}
template <typename... T>
struct common_type;
template <typename T>
struct common_type<T> {
  typedef decay_t<T> type;
};
template <typename T, typename U>
struct common_type<T, U> {
  typedef decay_t<decltype(true ? declval<T>() : declval<U>())> type;
};
template <typename T, typename U, typename... R>
struct common_type<T, U, R...> : common_type<typename common_type<T, U>::type, R...> {};
template <typename... T>
using common_type_t = typename common_type<T...>::type;

template <typename T, size_t N>
struct array {
  T elements[N];
  constexpr size_t size() const { return N; }
  constexpr T &operator[](size_t i) { return elements[i]; }
  constexpr const T &operator[](size_t i) const { return elements[i]; }
};
}  // namespace metal
