//! The ways to name a kernel: templates, host names, namespaces, macros.

use crate::{HEADER, buffer, device, run, values};

const SOURCE: &str = r#"
template <typename T, int N>
[[kernel]] void scale(device const T *x [[buffer(0)]], device T *y [[buffer(1)]], uint i [[thread_position_in_grid]]) {
  threadgroup T shared[N];
  shared[i % N] = x[i];
  y[i] = shared[i % N] * T(N);
}
template [[host_name("by_list")]] [[kernel]] void scale<float, 2>(device const float *, device float *, uint);
template [[host_name("by_" "decltype")]] [[kernel]] decltype(scale<float, 3>) scale<float, 3>;
typedef decltype(scale<float, 4>) scale_t;
template [[host_name("by_typedef")]] kernel scale_t scale<float, 4>;
#define INSTANTIATE(n) template [[host_name("by_macro_" #n)]] kernel decltype(scale<float, n>) scale<float, n>;
INSTANTIATE(5)

template <typename T>
kernel void deduced(device const T *x, device T *y, uint i [[thread_position_in_grid]]) { y[i] = x[i] + 100; }
template [[host_name("by_deduction")]] kernel void deduced(device const float *x, device float *y, uint i [[thread_position_in_grid]]);

template <> [[host_name("by_specialisation")]] kernel void deduced<int>(device const int *x, device int *y, uint i [[thread_position_in_grid]]) {
  y[i] = as_type<int>(as_type<float>(x[i]) - 1);
}

namespace outer { namespace inner {
constant float offset = 7;
kernel void nested(device const float *x, device float *y, uint i [[thread_position_in_grid]]) { y[i] = x[i] + offset; }
template <bool NEGATE = true>
kernel void templated(device const float *x, device float *y, uint i [[thread_position_in_grid]]) { y[i] = NEGATE ? -x[i] : x[i]; }
} 
template [[host_name("by_path")]] kernel decltype(inner::templated<>) inner::templated<>;
}
template [[host_name("by_long_path")]] kernel decltype(outer::inner::templated<(1 > 2)>) outer::inner::templated<(1 > 2)>;

#define KERNEL(name, value) \
  kernel void name(device const float *x, device float *y, uint i [[thread_position_in_grid]]) { y[i] = x[i] * (value); }
KERNEL(made_by_macro, 1.5)

[[host_name("renamed"), max_total_threads_per_threadgroup(64)]] kernel void original(
    device const float *x, device float *y, uint i [[thread_position_in_grid]]) { y[i] = x[i] - 1; }
"#;

#[test]
fn every_form_runs() {
    let source = format!("{HEADER}{SOURCE}");
    let device = device(false);
    let x: Vec<f32> = (0..8).map(|i| i as f32).collect();
    let (x_buffer, y) = (buffer(&device, &x), buffer(&device, &[0f32; 8]));
    type Form = (&'static str, fn(f32) -> f32);
    let forms: [Form; 11] = [
        ("by_list", |x| x * 2.0),
        ("by_decltype", |x| x * 3.0),
        ("by_typedef", |x| x * 4.0),
        ("by_macro_5", |x| x * 5.0),
        ("by_deduction", |x| x + 100.0),
        ("by_specialisation", |x| x - 1.0),
        ("nested", |x| x + 7.0),
        ("by_path", |x| -x),
        ("by_long_path", |x| x),
        ("made_by_macro", |x| x * 1.5),
        ("renamed", |x| x - 1.0),
    ];
    for (name, expected) in forms {
        // One thread at a time writes `shared`, so the element is what it wrote.
        run(&device, &source, name, &[], 1, |encoder| {
            encoder.buffer(0, &x_buffer, 4 * 3);
            encoder.buffer(1, &y, 0);
        });
        assert_eq!(values::<f32>(&y, 1)[0], expected(3.0), "{name}");
    }
    let library = device.library(&source, "test.metal").unwrap();
    let renamed = library.kernels().iter().find(|k| k.name == "renamed").unwrap();
    assert_eq!(renamed.max_total_threads, Some(64));
    assert!(library.kernels().iter().all(|k| k.name != "original" && k.name != "scale"));
}
