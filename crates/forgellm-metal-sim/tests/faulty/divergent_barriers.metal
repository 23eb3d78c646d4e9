// Both sides of a condition have a barrier: they are two different ones.
#include <metal_stdlib>
using namespace metal;

kernel void faulty(device float *y [[buffer(0)]], uint i [[thread_index_in_threadgroup]]) {
  threadgroup float part[64];
  if (i < 32) {
    part[i] = 1.0f;
    threadgroup_barrier(mem_flags::mem_threadgroup);  // access
    y[i] = part[i];
  } else {
    part[i] = 2.0f;
    threadgroup_barrier(mem_flags::mem_threadgroup);  // other
    y[i] = -part[i];
  }
}

kernel void corrected(device float *y [[buffer(0)]], uint i [[thread_index_in_threadgroup]]) {
  threadgroup float part[64];
  part[i] = i < 32 ? 1.0f : 2.0f;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  y[i] = i < 32 ? part[i] : -part[i];
}
