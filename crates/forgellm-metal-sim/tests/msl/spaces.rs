//! Overloads and specialisations by address space.

use crate::{HEADER, buffer, device, run, values};
use forgellm_metal_sim::sim::translate::translate;

#[test]
fn overloads_that_differ_only_in_address_spaces() {
    let source = format!(
        "{HEADER}
template <typename T> struct pointee {{}};
template <typename T> struct pointee<device T *> {{ static constexpr constant int value = sizeof(T); }};
template <typename T> struct pointee<threadgroup T *> {{ static constexpr constant int value = sizeof(T); }};
static float first(device const float *x) {{ return x[0]; }}
static float first(threadgroup const float *x) {{ return x[0]; }}
struct State {{
  float sum;
  State() thread = default;
  State() device = default;
  State() constant = default;
  State(float s) thread : sum(s) {{}}
  float get() const thread {{ return sum; }}
  float get() const device {{ return sum; }}
  void add(float x) thread {{ sum += x; }}
  void add(float x) threadgroup {{ sum += x; }}
}};
kernel void k(device const float *x, device float *y) {{
  threadgroup float t[2];
  t[0] = x[1];
  State s(1);
  s.add(first(x));
  y[0] = s.get() + first(t) + pointee<device float *>::value;
}}"
    );
    let device = device(true);
    let (x, y) = (buffer(&device, &[3f32, 5.0, 0.0, 0.0]), buffer(&device, &[0f32; 4]));
    run(&device, &source, "k", &[], 1, |encoder| {
        encoder.buffer(0, &x, 0);
        encoder.buffer(1, &y, 0);
    });
    assert_eq!(values::<f32>(&y, 1), [13.0]);
}

#[test]
fn overloads_with_different_bodies_are_refused() {
    let source = "float f(device float *x) { return x[0]; }\nfloat f(threadgroup float *x) { return x[1]; }";
    assert_eq!(
        translate(source, "test.metal").unwrap_err().to_string(),
        "test.metal:2: an overload that differs from another only in address spaces but has another body: the simulator \
         has one memory: give the functions different names"
    );
}
