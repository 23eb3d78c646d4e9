// Two arrays that fit one by one, not together: 36 KiB, and a threadgroup has 32.
#include <metal_stdlib>
using namespace metal;

kernel void faulty(device float *y [[buffer(0)]], uint i [[thread_index_in_threadgroup]]) {
  threadgroup float a[4608], b[4608];
  a[i] = 1.0f;
  b[i] = 2.0f;
  y[i] = a[i] + b[i];
}

kernel void corrected(device float *y [[buffer(0)]], uint i [[thread_index_in_threadgroup]]) {
  threadgroup float a[4096], b[4096];
  a[i] = 1.0f;
  b[i] = 2.0f;
  y[i] = a[i] + b[i];
}
