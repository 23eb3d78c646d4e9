// A vector of four floats may not begin at any float.
#include <metal_stdlib>
using namespace metal;

kernel void faulty(device const float *x [[buffer(0)]], device float *y [[buffer(1)]]) {
  float4 v = *(device const float4 *)(x + 1);  // access
  v = v * v;
  y[0] = v.x + v.y + v.z + v.w;
}

kernel void corrected(device const float *x [[buffer(0)]], device float *y [[buffer(1)]]) {
  packed_float4 v = *(device const packed_float4 *)(x + 1);
  y[0] = v.x + v.y + v.z + v.w;
}
