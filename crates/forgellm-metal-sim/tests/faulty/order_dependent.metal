// Nothing races, yet the last thread wins, and which one that is nobody knows.
#include <metal_stdlib>
using namespace metal;

kernel void faulty(device atomic_uint *y [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  atomic_store_explicit(y, i, memory_order_relaxed);
}

kernel void corrected(device atomic_uint *y [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  atomic_fetch_max_explicit(y, i, memory_order_relaxed);
}
