// Only half of the threadgroup memory is written before all of it is added up.
#include <metal_stdlib>
using namespace metal;

kernel void faulty(device float *y [[buffer(0)]], uint i [[thread_index_in_threadgroup]]) {
  threadgroup float part[64];
  if (i < 32) part[i] = float(i);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  y[i] = part[63 - i];  // access
}

kernel void corrected(device float *y [[buffer(0)]], uint i [[thread_index_in_threadgroup]]) {
  threadgroup float part[64];
  part[i] = i < 32 ? float(i) : 0.0f;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  y[i] = part[63 - i];
}
