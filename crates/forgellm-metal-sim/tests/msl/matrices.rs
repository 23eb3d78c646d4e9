//! Matrices of a simdgroup.

use crate::{HEADER, buffer, device, run, values};

/// Runs a kernel of 32 threads over `a`, `b` (floats, small whole numbers) and gives 64 results.
fn matrix_kernel(body: &str) -> Vec<f32> {
    let source = format!(
        "{HEADER}kernel void k(device const float *a [[buffer(0)]], device const float *b [[buffer(1)]],
  device float *c [[buffer(2)]], uint lane [[thread_index_in_simdgroup]]) {{ {body} }}\n"
    );
    let results = [false, true].map(|sanitize| {
        let device = device(sanitize);
        let (a, b) = (buffer(&device, &left()), buffer(&device, &right()));
        let c = buffer(&device, &[0f32; 256]);
        run(&device, &source, "k", &[], 32, |encoder| {
            for (i, buffer) in [&a, &b, &c].into_iter().enumerate() {
                encoder.buffer(i, buffer, 0);
            }
        });
        values::<f32>(&c, 64)
    });
    assert_eq!(results[0], results[1]);
    results[0].clone()
}

/// 16 rows of 16.
fn left() -> Vec<f32> {
    (0..256).map(|i| (i * 5 % 17) as f32 - 8.0).collect()
}

fn right() -> Vec<f32> {
    (0..256).map(|i| (i * 3 % 11) as f32 - 5.0).collect()
}

/// The 8 by 8 block of a 16 by 16 matrix at a row and a column.
fn block(x: &[f32], row: usize, column: usize) -> Vec<f32> {
    (0..64).map(|i| x[(row + i / 8) * 16 + column + i % 8]).collect()
}

fn product(a: &[f32], b: &[f32]) -> Vec<f32> {
    (0..64).map(|i| (0..8).map(|k| a[i / 8 * 8 + k] * b[k * 8 + i % 8]).sum()).collect()
}

fn transposed(x: &[f32]) -> Vec<f32> {
    (0..64).map(|i| x[i % 8 * 8 + i / 8]).collect()
}

#[test]
fn load_multiply_store() {
    let c = matrix_kernel(
        "simdgroup_float8x8 x, y, z = make_filled_simdgroup_matrix<float, 8>(1.0f);
         simdgroup_load(x, a, 16); simdgroup_load(y, b, 16);
         simdgroup_multiply_accumulate(z, x, y, z); simdgroup_store(z, c);",
    );
    let expected: Vec<f32> =
        product(&block(&left(), 0, 0), &block(&right(), 0, 0)).iter().map(|v| v + 1.0).collect();
    assert_eq!(c, expected);
    let c = matrix_kernel(
        "simdgroup_float8x8 x, y, z; simdgroup_load(x, a, 16); simdgroup_load(y, b, 16);
         simdgroup_multiply(z, x, y); simdgroup_store(x * y, c, 8); simdgroup_store(z, c, 8);",
    );
    assert_eq!(c, product(&block(&left(), 0, 0), &block(&right(), 0, 0)));
}

#[test]
fn origins_and_transposition() {
    // An origin is (column, row).
    let c =
        matrix_kernel("simdgroup_float8x8 x; simdgroup_load(x, a, 16, ulong2(8, 3)); simdgroup_store(x, c);");
    assert_eq!(c, block(&left(), 3, 8));
    let c = matrix_kernel("simdgroup_float8x8 x; simdgroup_load(x, a, 16, 0, true); simdgroup_store(x, c);");
    assert_eq!(c, transposed(&block(&left(), 0, 0)));
    let c =
        matrix_kernel("simdgroup_float8x8 x; simdgroup_load(x, a, 16); simdgroup_store(x, c, 8, 0, true);");
    assert_eq!(c, transposed(&block(&left(), 0, 0)));
    let c = matrix_kernel(
        "threadgroup float t[16 * 16]; for (uint i = lane; i < 256; i += 32) t[i] = a[i];
         threadgroup_barrier(mem_flags::mem_threadgroup);
         simdgroup_float8x8 x; simdgroup_load(x, t, 16, ulong2(1, 2)); simdgroup_store(x, t + 8, 16);
         threadgroup_barrier(mem_flags::mem_threadgroup);
         for (uint i = lane; i < 64; i += 32) c[i] = t[8 + i / 8 * 16 + i % 8];",
    );
    assert_eq!(c, block(&left(), 2, 1));
}

#[test]
fn diagonal_and_filled() {
    let identity: Vec<f32> = (0..64).map(|i| if i % 9 == 0 { 2.0 } else { 0.0 }).collect();
    assert_eq!(matrix_kernel("simdgroup_store(simdgroup_float8x8(2.0f), c);"), identity);
    assert_eq!(
        matrix_kernel("simdgroup_store(make_diagonal_simdgroup_matrix<float, 8>(2.0f), c);"),
        identity
    );
    assert_eq!(
        matrix_kernel("simdgroup_store(make_filled_simdgroup_matrix<float, 8, 8>(3), c);"),
        vec![3.0; 64]
    );
}

/// half and bfloat operands, a float sum.
#[test]
fn mixed_types() {
    for ty in ["half", "bfloat"] {
        let c = matrix_kernel(&format!(
            "threadgroup {ty} s[128]; for (uint i = lane; i < 64; i += 32) {{ s[i] = {ty}(a[i]); s[64 + i] = {ty}(b[i]); }}
             threadgroup_barrier(mem_flags::mem_threadgroup);
             simdgroup_{ty}8x8 x, y; simdgroup_float8x8 z(0.0f); simdgroup_load(x, s); simdgroup_load(y, s + 64);
             simdgroup_multiply_accumulate(z, x, y, z); simdgroup_store(z, c);"
        ));
        assert_eq!(c, product(&left()[..64], &right()[..64]), "{ty}");
        // A sum of half or bfloat is rounded once.
        let c = matrix_kernel(&format!(
            "threadgroup {ty} s[64]; simdgroup_{ty}8x8 x(({ty})300.0f), y = make_filled_simdgroup_matrix<{ty}, 8>(({ty})3.0f);
             simdgroup_multiply_accumulate(y, x, y, y); simdgroup_store(y, s);
             threadgroup_barrier(mem_flags::mem_threadgroup);
             for (uint i = lane; i < 64; i += 32) c[i] = s[i];"
        ));
        let expected = if ty == "half" { 903.0 } else { 904.0 };
        assert_eq!(c, vec![expected; 64], "{ty}");
    }
}

/// The layout of thread_elements() on Apple's GPUs, and that it goes both ways.
#[test]
fn thread_elements() {
    let c = matrix_kernel(
        "simdgroup_float8x8 x; simdgroup_load(x, a, 8); float2 own = x.thread_elements();
         c[lane * 2] = own.x; c[lane * 2 + 1] = own.y;",
    );
    let expected: Vec<f32> = (0..32)
        .flat_map(|lane| {
            let quad = lane / 4;
            let row = (quad & 4) + (lane / 2) % 4;
            let column = (quad & 2) * 2 + (lane % 2) * 2;
            [left()[row * 8 + column], left()[row * 8 + column + 1]]
        })
        .collect();
    assert_eq!(c, expected);
    let c = matrix_kernel(
        "simdgroup_float8x8 x, y(1.0f), z; simdgroup_load(x, a, 8);
         x.thread_elements()[0] *= 2; x.thread_elements()[1] += 1; z = x;
         simdgroup_multiply(z, z, y); simdgroup_store(z, c);",
    );
    let expected: Vec<f32> =
        left()[..64].iter().enumerate().map(|(i, v)| if i % 2 == 0 { v * 2.0 } else { v + 1.0 }).collect();
    assert_eq!(c, expected);
    // Arrays: the first is given, the others are zero; and what was on the stack before must not matter.
    let c = matrix_kernel(
        "volatile int dirt[512]; for (int i = 0; i < 512; ++i) dirt[i] = -int(lane) * i;
         simdgroup_float8x8 z[3] = {simdgroup_float8x8(1.0f)}, x[2];
         for (short i = 0; i < 2; ++i) { x[i].thread_elements()[0] = i; x[i].thread_elements()[1] = dirt[0] + 2; }
         simdgroup_multiply_accumulate(z[2], z[0], x[1], z[1]); simdgroup_store(z[2], c);",
    );
    assert_eq!(c, (0..64).map(|i| if i % 2 == 0 { 1.0 } else { 2.0 }).collect::<Vec<f32>>());
    // Elements that are only ever set through thread_elements().
    let c = matrix_kernel(
        "simdgroup_float8x8 x(0.0f); thread float2 &own = reinterpret_cast<thread float2 &>(x.thread_elements());
         own = float2(lane, 5); simdgroup_store(x, c);",
    );
    assert_eq!((c[0], c[1], c[2], c[8]), (0.0, 5.0, 1.0, 2.0));
}
