// A barrier, but not for the memory in question.
#include <metal_stdlib>
using namespace metal;

kernel void faulty(device float *y [[buffer(0)]], uint i [[thread_index_in_threadgroup]]) {
  threadgroup float part[64];
  part[i] = float(i);  // other
  threadgroup_barrier(mem_flags::mem_device);
  y[i] = part[63 - i];  // access
}

kernel void corrected(device float *y [[buffer(0)]], uint i [[thread_index_in_threadgroup]]) {
  threadgroup float part[64];
  part[i] = float(i);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  y[i] = part[63 - i];
}
