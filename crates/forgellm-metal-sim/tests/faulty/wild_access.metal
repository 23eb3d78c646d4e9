// A pointer made from a number.
#include <metal_stdlib>
using namespace metal;

kernel void faulty(device float *y [[buffer(0)]], constant ulong &address [[buffer(1)]]) {
  y[0] = *reinterpret_cast<device float *>(address);  // access
}

kernel void corrected(device float *y [[buffer(0)]], constant ulong &address [[buffer(1)]]) {
  y[0] = float(address);
}
