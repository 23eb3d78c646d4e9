// Threadgroups add to one number; a barrier does not reach beyond a threadgroup.
#include <metal_stdlib>
using namespace metal;

kernel void faulty(device uint *total [[buffer(0)]], uint i [[thread_index_in_threadgroup]]) {
  threadgroup_barrier(mem_flags::mem_device);
  if (i == 0) total[0] += 1;  // access
}

kernel void corrected(device atomic_uint *total [[buffer(0)]], uint i [[thread_index_in_threadgroup]]) {
  if (i == 0) atomic_fetch_add_explicit(total, 1u, memory_order_relaxed);
}
