// The last vector begins inside the buffer and ends outside.
#include <metal_stdlib>
using namespace metal;

kernel void faulty(device const float4 *x [[buffer(0)]], device float *y [[buffer(1)]],
                   uint i [[thread_position_in_grid]]) {
  float4 v = x[i];  // access
  y[i] = v.x + v.y + v.z + v.w;
}

kernel void corrected(device const float4 *x [[buffer(0)]], device float *y [[buffer(1)]],
                      constant uint &n [[buffer(2)]], uint i [[thread_position_in_grid]]) {
  float sum = 0;
  device const float *tail = (device const float *)x;
  for (uint j = 4 * i; j < min(4 * i + 4, n); ++j) sum += tail[j];
  y[i] = sum;
}
