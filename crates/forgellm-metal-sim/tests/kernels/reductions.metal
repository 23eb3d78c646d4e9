// Sums over a threadgroup, prefix sums, and what partial simdgroups do.
#include <metal_stdlib>
using namespace metal;

// One sum per threadgroup, over any number of threads.
kernel void sum(device const float *x [[buffer(0)]], device float *y [[buffer(1)]],
                constant uint &n [[buffer(2)]], threadgroup float *part [[threadgroup(0)]],
                uint group [[threadgroup_position_in_grid]], uint i [[thread_index_in_threadgroup]],
                uint threads [[threads_per_threadgroup]], uint lane [[thread_index_in_simdgroup]],
                uint simdgroup [[simdgroup_index_in_threadgroup]],
                uint simdgroups [[simdgroups_per_threadgroup]]) {
  float total = 0;
  for (uint j = i; j < n; j += threads) total += x[group * n + j];
  total = simd_sum(total);
  if (lane == 0) part[simdgroup] = total;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (simdgroup == 0) {
    total = lane < simdgroups ? part[lane] : 0;
    total = simd_sum(total);
    if (lane == 0) y[group] = total;
  }
}

// The same as a tree in threadgroup memory, for a power of two of threads.
kernel void tree(device const float *x [[buffer(0)]], device float *y [[buffer(1)]],
                 uint group [[threadgroup_position_in_grid]], uint i [[thread_index_in_threadgroup]],
                 uint threads [[threads_per_threadgroup]]) {
  threadgroup float part[1024];
  part[i] = x[group * threads + i];
  for (uint step = threads / 2; step > 0; step /= 2) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (i < step) part[i] += part[i + step];
  }
  if (i == 0) y[group] = part[0];
}

// Inclusive prefix sums over a threadgroup (Hillis and Steele).
kernel void prefix(device const uint *x [[buffer(0)]], device uint *y [[buffer(1)]],
                   uint i [[thread_index_in_threadgroup]], uint threads [[threads_per_threadgroup]]) {
  threadgroup uint part[2][1024];
  uint now = 0;
  part[0][i] = x[i];
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (uint step = 1; step < threads; step *= 2) {
    part[1 - now][i] = part[now][i] + (i >= step ? part[now][i - step] : 0);
    now = 1 - now;
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  y[i] = part[now][i];
}

// How many lanes take part in a simdgroup function, for each thread.
kernel void active(device uint *y [[buffer(0)]], uint i [[thread_index_in_threadgroup]]) {
  y[i] = simd_sum(1u);
}
