// Neighbouring bytes are different memory; the same byte is not.
#include <metal_stdlib>
using namespace metal;

kernel void faulty(device uchar *y [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  y[i / 2] = uchar(i);  // access
}

kernel void corrected(device uchar *y [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  y[i] = uchar(i);
}
