// Half of a simdgroup waits for the other half.
#include <metal_stdlib>
using namespace metal;

kernel void faulty(device float *y [[buffer(0)]], uint i [[thread_index_in_threadgroup]]) {
  if (i < 16) simdgroup_barrier(mem_flags::mem_none);  // access
  y[i] = float(i);
}

kernel void corrected(device float *y [[buffer(0)]], uint i [[thread_index_in_threadgroup]]) {
  simdgroup_barrier(mem_flags::mem_none);
  y[i] = float(i);
}
