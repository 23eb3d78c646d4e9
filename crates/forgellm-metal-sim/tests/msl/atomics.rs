//! Atomic variables.

use crate::{HEADER, buffer, device, run, values};

#[test]
fn device_and_threadgroup_atomics() {
    let source = format!(
        "{HEADER}
kernel void k(device atomic_uint *counts [[buffer(0)]], device atomic_int *numbers [[buffer(1)]],
              device atomic_float *sums [[buffer(2)]], device atomic_ulong *longs [[buffer(3)]],
              device uint *y [[buffer(4)]], uint i [[thread_index_in_threadgroup]]) {{
  threadgroup atomic_uint local;
  if (i == 0) atomic_store_explicit(&local, 0u, memory_order_relaxed);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  atomic_fetch_add_explicit(&counts[0], 1, memory_order_relaxed);
  atomic_fetch_sub_explicit(&counts[1], 1, memory_order_relaxed);
  atomic_fetch_or_explicit(&counts[2], 1u << (i % 32), memory_order_relaxed);
  atomic_fetch_xor_explicit(&counts[3], i, memory_order_relaxed);
  atomic_fetch_and_explicit(&counts[4], ~i, memory_order_relaxed);
  atomic_fetch_max_explicit(&counts[5], i, memory_order_relaxed);
  atomic_fetch_min_explicit(&numbers[0], -int(i), memory_order_relaxed);
  atomic_fetch_max_explicit(&numbers[1], int(i) - 100, memory_order_relaxed);
  atomic_fetch_add_explicit(&sums[0], 0.5f, memory_order_relaxed);
  atomic_fetch_sub_explicit((volatile device atomic<float> *)&sums[1], 0.25f, memory_order_relaxed);
  atomic_max_explicit(&longs[0], ulong(i) << 33, memory_order_relaxed);
  atomic_fetch_add_explicit(&local, i, memory_order_relaxed);
  uint seen = atomic_load_explicit(&counts[6], memory_order_relaxed);
  while (!atomic_compare_exchange_weak_explicit(&counts[6], &seen, seen + 2, memory_order_relaxed, memory_order_relaxed)) {{}}
  threadgroup_barrier(mem_flags::mem_threadgroup | mem_flags::mem_device);
  if (i == 0) {{
    y[0] = atomic_load_explicit(&local, memory_order_relaxed);
    y[1] = atomic_exchange_explicit(&counts[7], 7u, memory_order_relaxed);
  }}
}}"
    );
    for sanitize in [false, true] {
        let device = device(sanitize);
        let counts = buffer(&device, &[0u32, 100, 0, 0, !0, 0, 0, 3]);
        let (numbers, sums) =
            (buffer(&device, &[5i32, -1000, 0, 0]), buffer(&device, &[0f32, 0.0, 0.0, 0.0]));
        let (longs, y) = (buffer(&device, &[0u64, 0]), buffer(&device, &[0u32; 4]));
        run(&device, &source, "k", &[], 48, |encoder| {
            for (i, buffer) in [&counts, &numbers, &sums, &longs, &y].into_iter().enumerate() {
                encoder.buffer(i, buffer, 0);
            }
        });
        let xor = (0..48).fold(0, |a, i| a ^ i);
        assert_eq!(values::<u32>(&counts, 8), [48, 52, !0, xor, !63, 47, 96, 7]);
        assert_eq!(values::<i32>(&numbers, 2), [-47, -53]);
        assert_eq!(values::<f32>(&sums, 2), [24.0, -12.0]);
        assert_eq!(values::<u64>(&longs, 1), [47 << 33]);
        assert_eq!(values::<u32>(&y, 2), [47 * 48 / 2, 3]);
    }
}
