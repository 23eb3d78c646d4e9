// Room for 32 numbers, 64 threads.
#include <metal_stdlib>
using namespace metal;

kernel void faulty(device float *y [[buffer(0)]], uint i [[thread_index_in_threadgroup]]) {
  threadgroup float part[32];
  part[i] = float(i);  // access
  threadgroup_barrier(mem_flags::mem_threadgroup);
  y[i] = part[i ^ 1];
}

kernel void corrected(device float *y [[buffer(0)]], uint i [[thread_index_in_threadgroup]]) {
  threadgroup float part[64];
  part[i] = float(i);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  y[i] = part[i ^ 1];
}
