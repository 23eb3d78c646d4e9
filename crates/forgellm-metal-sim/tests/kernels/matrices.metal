// C = A B in tiles of 8x8, a simdgroup for each tile of C.
#include <metal_stdlib>
using namespace metal;

kernel void multiply(device const float *a [[buffer(0)]], device const float *b [[buffer(1)]],
                     device float *c [[buffer(2)]], constant uint &inner [[buffer(3)]],
                     constant uint &columns [[buffer(4)]], uint2 group [[threadgroup_position_in_grid]],
                     uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  uint row = (group.y * 2 + simdgroup) * 8, column = group.x * 8;
  simdgroup_float8x8 sum = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
  for (uint k = 0; k < inner; k += 8) {
    simdgroup_float8x8 left, right;
    simdgroup_load(left, a + row * inner + k, inner);
    simdgroup_load(right, b + k * columns + column, columns);
    simdgroup_multiply_accumulate(sum, left, right, sum);
  }
  simdgroup_store(sum, c + row * columns + column, columns);
}
