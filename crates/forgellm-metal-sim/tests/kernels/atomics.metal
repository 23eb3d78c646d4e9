// Counters that all threads of a grid share, and threadgroup ones.
#include <metal_stdlib>
using namespace metal;

kernel void histogram(device const uchar *x [[buffer(0)]], device atomic_uint *bins [[buffer(1)]],
                      device atomic_float *total [[buffer(2)]], device atomic_int *most [[buffer(3)]],
                      uint i [[thread_position_in_grid]], uint local [[thread_index_in_threadgroup]]) {
  threadgroup atomic_uint mine[16];
  if (local < 16) atomic_store_explicit(&mine[local], 0u, memory_order_relaxed);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  atomic_fetch_add_explicit(&mine[x[i] % 16], 1u, memory_order_relaxed);
  atomic_fetch_add_explicit(total, float(x[i]), memory_order_relaxed);
  atomic_fetch_max_explicit(most, int(x[i]), memory_order_relaxed);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (local < 16) {
    uint count = atomic_load_explicit(&mine[local], memory_order_relaxed);
    atomic_fetch_add_explicit(&bins[local], count, memory_order_relaxed);
  }
}
