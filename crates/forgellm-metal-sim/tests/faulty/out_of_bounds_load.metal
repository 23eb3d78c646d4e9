// A bound that is one too large: the last thread reads one element past the end.
#include <metal_stdlib>
using namespace metal;

kernel void faulty(device const float *x [[buffer(0)]], device float *y [[buffer(1)]],
                   uint i [[thread_position_in_grid]]) {
  y[i] = x[i] + x[i + 1];  // access
}

kernel void corrected(device const float *x [[buffer(0)]], device float *y [[buffer(1)]],
                      uint i [[thread_position_in_grid]], uint n [[threads_per_grid]]) {
  y[i] = i + 1 < n ? x[i] + x[i + 1] : x[i];
}
