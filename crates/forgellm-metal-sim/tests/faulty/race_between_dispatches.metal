// Two dispatches of a concurrent encoder: the test encodes a barrier between those of `corrected` only.
#include <metal_stdlib>
using namespace metal;

kernel void fill(device float *x [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  x[i] = float(i);  // other
}

kernel void reverse(device const float *x [[buffer(0)]], device float *y [[buffer(1)]],
                    uint i [[thread_position_in_grid]], uint n [[threads_per_grid]]) {
  y[i] = x[n - 1 - i];  // access
}
