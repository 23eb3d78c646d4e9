//! The ways to name a kernel: templates, host names, namespaces, macros.

use forgellm_metal_sim::sim::api::{Device, GpuError, Options};

use crate::{HEADER, buffer, cache, device, run, values};

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

#[test]
fn kernels_may_be_called_like_functions_of_the_library() {
    let source = format!(
        r#"{HEADER}
kernel void round(device const float *x, device float *y) {{ y[0] = round(x[0]); }}
kernel void exp(device const float *x, device float *y) {{ y[0] = exp(x[0]) + fabs(x[0]); }}
template <typename T> kernel void select(device const T *x, device T *y) {{ y[0] = select(x[0], T(7), x[0] > T(1)); }}
template [[host_name("select_float")]] kernel void select<float>(device const float *, device float *);
template [[host_name("select_deduced")]] kernel void select(device const half *, device half *);
namespace outer {{ namespace {{
kernel void trunc(device const float *x, device float *y) {{ y[0] = metal::trunc(x[0]) + 10; }}
}} }}
"#
    );
    let device = device(false);
    let (x, y) = (buffer(&device, &[2.5f32]), buffer(&device, &[0f32]));
    for (name, expected) in
        [("round", 3.0), ("exp", 2.5f32.exp() + 2.5), ("select_float", 7.0), ("trunc", 12.0)]
    {
        run(&device, &source, name, &[], 1, |encoder| {
            encoder.buffer(0, &x, 0);
            encoder.buffer(1, &y, 0);
        });
        let value = values::<f32>(&y, 1)[0];
        assert!((value - expected).abs() <= 1e-6 * expected, "{name} gives {value}, not {expected}");
    }
    // In a namespace the kernel hides the function, as in C++.
    let hidden = format!(
        "{HEADER}namespace outer {{\nkernel void trunc(device float *y) {{ y[0] = trunc(y[0]); }}\n}}\n"
    );
    let error = device.library(&hidden, "k.metal").err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("k.metal:4:"), "{error}");
}

#[test]
fn only_the_kernels_asked_for_are_compiled() {
    let source = format!(
        r#"{HEADER}
template <typename T> kernel void twice(device T *y) {{ static_assert(sizeof(T) == 4); y[0] += y[0]; }}
template [[host_name("twice_float")]] kernel void twice<float>(device float *);
template [[host_name("twice_half")]] kernel void twice<half>(device half *);
kernel void thrice(device float *y) {{ y[0] *= 3; }}
[[host_name("named")]] kernel void fourfold(device float *y) {{ y[0] *= 4; }}
"#
    );
    // Compiled as a whole, the text has a mistake.
    let error =
        device(false).library(&source, "k.metal").err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("k.metal:4:"), "{error}");
    for (only, expected) in [("twice_float", 10.0), ("thrice", 15.0), ("named", 20.0)] {
        let options = Options { cache: cache(), only: vec![only.to_owned()], ..Options::default() };
        let device = Device::with(options).unwrap();
        let y = buffer(&device, &[5f32]);
        run(&device, &source, only, &[], 1, |encoder| encoder.buffer(0, &y, 0));
        assert_eq!(values::<f32>(&y, 1)[0], expected, "{only}");
        // All are listed; the others say why they do not run.
        let library = device.library(&source, "k.metal").unwrap();
        let names: Vec<&str> = library.kernels().iter().map(|kernel| kernel.name.as_str()).collect();
        assert_eq!(names, ["twice_float", "twice_half", "thrice", "named"]);
        let error = device.pipeline(&library, "twice_half", &[]).err().unwrap();
        assert!(matches!(error, GpuError::LeftOut { .. }), "{error}");
        let compiled: Vec<&str> =
            library.kernels().iter().filter(|k| k.entry.is_some()).map(|k| k.name.as_str()).collect();
        assert_eq!(compiled, [only]);
    }
}
