// A simdgroup barrier where threads of other simdgroups are concerned.
#include <metal_stdlib>
using namespace metal;

kernel void faulty(device float *y [[buffer(0)]], uint i [[thread_index_in_threadgroup]]) {
  threadgroup float part[64];
  part[i] = float(i);  // other
  simdgroup_barrier(mem_flags::mem_threadgroup);
  y[i] = part[i ^ 32];  // access
}

kernel void corrected(device float *y [[buffer(0)]], uint i [[thread_index_in_threadgroup]]) {
  threadgroup float part[64];
  part[i] = float(i);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  y[i] = part[i ^ 32];
}
