// Writes memory that the program lent for reading.
#include <metal_stdlib>
using namespace metal;

kernel void faulty(device float *weights [[buffer(0)]], device float *y [[buffer(1)]],
                   uint i [[thread_position_in_grid]]) {
  y[i] = weights[i];
  if (i == 3) weights[i] = 0;  // access
}

kernel void corrected(device float *weights [[buffer(0)]], device float *y [[buffer(1)]],
                      uint i [[thread_position_in_grid]]) {
  y[i] = weights[i];
}
