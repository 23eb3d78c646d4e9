// An atomic update, read without atomics and without a barrier.
#include <metal_stdlib>
using namespace metal;

kernel void faulty(device atomic_uint *count [[buffer(0)]], device uint *y [[buffer(1)]],
                   uint i [[thread_index_in_threadgroup]]) {
  atomic_fetch_add_explicit(count, 1u, memory_order_relaxed);  // other
  if (i == 40) y[0] = *(device uint *)count;  // access
}

kernel void corrected(device atomic_uint *count [[buffer(0)]], device uint *y [[buffer(1)]],
                      uint i [[thread_index_in_threadgroup]]) {
  atomic_fetch_add_explicit(count, 1u, memory_order_relaxed);
  threadgroup_barrier(mem_flags::mem_device);
  if (i == 40) y[0] = atomic_load_explicit(count, memory_order_relaxed);
}
