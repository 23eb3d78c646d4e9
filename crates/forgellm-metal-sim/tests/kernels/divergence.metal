// Simdgroup functions in code that not all lanes run.
#include <metal_stdlib>
using namespace metal;

// In a branch only its lanes take part; behind it all of them again.
kernel void branch(device uint *y [[buffer(0)]], uint lane [[thread_index_in_simdgroup]]) {
  uint inside = 0;
  if (lane % 3 == 0) {
    inside = simd_sum(lane);
  } else if (lane % 3 == 1) {
    inside = simd_sum(1000 + lane);
  }
  uint all = simd_sum(1u);
  y[2 * lane] = inside;
  y[2 * lane + 1] = all;
}

// A loop of `lane` turns: each turn has fewer lanes.
kernel void loop(device uint *y [[buffer(0)]], uint lane [[thread_index_in_simdgroup]]) {
  uint seen = 0;
  for (uint turn = 0; turn < lane; ++turn) seen += simd_sum(1u);
  y[2 * lane] = seen;
  y[2 * lane + 1] = simd_sum(1u);
}

// Some lanes end early.
kernel void early(device uint *y [[buffer(0)]], uint lane [[thread_index_in_simdgroup]]) {
  if (lane >= 20) return;
  y[lane] = simd_sum(1u);
}
