// An index that becomes negative: thread 0 writes the element before the buffer.
#include <metal_stdlib>
using namespace metal;

inline void put(device float *y, int i, float value) {
  y[i] = value;  // access
}

kernel void faulty(device float *y [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  put(y, int(i) - 1, 1.0f);
}

kernel void corrected(device float *y [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  if (i > 0) put(y, int(i) - 1, 1.0f);
}
