// A matrix operation is done by the whole simdgroup or not at all.
#include <metal_stdlib>
using namespace metal;

kernel void faulty(device const float *x [[buffer(0)]], device float *y [[buffer(1)]],
                   uint lane [[thread_index_in_simdgroup]]) {
  simdgroup_float8x8 a, sum = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
  simdgroup_load(a, x, 8);
  if (lane < 16) {
    simdgroup_multiply_accumulate(sum, a, a, sum);  // access
  }
  simdgroup_store(sum, y, 8);
}

kernel void corrected(device const float *x [[buffer(0)]], device float *y [[buffer(1)]],
                      uint lane [[thread_index_in_simdgroup]]) {
  simdgroup_float8x8 a, sum = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
  simdgroup_load(a, x, 8);
  simdgroup_multiply_accumulate(sum, a, a, sum);
  simdgroup_store(sum, y, 8);
}
