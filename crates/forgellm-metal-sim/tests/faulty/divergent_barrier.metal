// Threads beyond the end leave before the barrier.
#include <metal_stdlib>
using namespace metal;

kernel void faulty(device float *y [[buffer(0)]], constant uint &n [[buffer(1)]],
                   uint i [[thread_index_in_threadgroup]]) {
  threadgroup float part[64];
  if (i >= n) return;
  part[i] = float(i);
  threadgroup_barrier(mem_flags::mem_threadgroup);  // access
  y[i] = part[n - 1 - i];
}

kernel void corrected(device float *y [[buffer(0)]], constant uint &n [[buffer(1)]],
                      uint i [[thread_index_in_threadgroup]]) {
  threadgroup float part[64];
  if (i < n) part[i] = float(i);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (i < n) y[i] = part[n - 1 - i];
}
