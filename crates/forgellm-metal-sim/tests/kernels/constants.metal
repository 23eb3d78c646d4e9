// Function constants: values, derived values, optional ones.
#include <metal_stdlib>
using namespace metal;

constant uint factor [[function_constant(0)]];
constant bool negate [[function_constant(1)]];
constant float offset [[function_constant(2)]];
constant bool has_offset = is_function_constant_defined(offset);
constant uint twice = factor * 2;

kernel void scale(device const float *x [[buffer(0)]], device float *y [[buffer(1)]],
                  uint i [[thread_position_in_grid]]) {
  float value = x[i] * twice;
  if (negate) value = -value;
  y[i] = has_offset ? value + offset : value;
}
