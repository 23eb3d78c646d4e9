// metal_functional: operations as objects.
#pragma once
#include "ms_vector.h"

namespace metal {
#define MS_FUNCTION(name, expression)                                                      \
  template <typename T>                                                                    \
  struct name {                                                                            \
    MS_INLINE_MEMBER auto operator()(const T &a, const T &b) const { return expression; }  \
  };
MS_FUNCTION(plus, T(a + b))
MS_FUNCTION(minus, T(a - b))
MS_FUNCTION(multiplies, T(a *b))
MS_FUNCTION(divides, T(a / b))
MS_FUNCTION(modulus, T(a % b))
MS_FUNCTION(bit_and, T(a &b))
MS_FUNCTION(bit_or, T(a | b))
MS_FUNCTION(bit_xor, T(a ^ b))
MS_FUNCTION(equal_to, a == b)
MS_FUNCTION(not_equal_to, a != b)
MS_FUNCTION(greater, a > b)
MS_FUNCTION(less, a < b)
MS_FUNCTION(greater_equal, a >= b)
MS_FUNCTION(less_equal, a <= b)
MS_FUNCTION(logical_and, a &&b)
MS_FUNCTION(logical_or, a || b)
#undef MS_FUNCTION
}  // namespace metal
