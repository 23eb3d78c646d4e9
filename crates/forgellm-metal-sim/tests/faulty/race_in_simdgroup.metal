// Lanes do not run in lockstep: what one lane stores, another sees after a barrier.
#include <metal_stdlib>
using namespace metal;

kernel void faulty(device float *y [[buffer(0)]], uint i [[thread_index_in_threadgroup]],
                   uint lane [[thread_index_in_simdgroup]]) {
  threadgroup float part[64];
  part[i] = float(i);
  simdgroup_barrier(mem_flags::mem_threadgroup);
  float next = part[i ^ 1];  // other
  part[i] = next + 1.0f;  // access
  simdgroup_barrier(mem_flags::mem_threadgroup);
  y[i] = part[i ^ 1];
}

kernel void corrected(device float *y [[buffer(0)]], uint i [[thread_index_in_threadgroup]],
                      uint lane [[thread_index_in_simdgroup]]) {
  threadgroup float part[64];
  part[i] = float(i);
  simdgroup_barrier(mem_flags::mem_threadgroup);
  float next = part[i ^ 1];
  simdgroup_barrier(mem_flags::mem_threadgroup);
  part[i] = next + 1.0f;
  simdgroup_barrier(mem_flags::mem_threadgroup);
  y[i] = part[i ^ 1];
}
