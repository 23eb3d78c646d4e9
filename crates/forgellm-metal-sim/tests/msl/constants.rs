//! Function constants and constants computed from them.

use forgellm_metal_sim::sim::api::{Constant, ConstantValue};

use crate::{HEADER, buffer, device, run, values};

const SOURCE: &str = "
constant int width [[function_constant(0)]];
constant bool fast_path [[function_constant(1)]];
constant float scale [[function_constant(FIRST + 2)]];
constant bool scaled = is_function_constant_defined(scale);
constant int twice = width * 2;
constant int more = fast_path ? twice + 1 : 0;
constant int plain = 7;
kernel void k(device float *y [[buffer(0)]], device const float *extra [[buffer(1), function_constant(scaled)]]) {
  y[0] = width; y[1] = fast_path; y[2] = is_function_constant_defined(scale) ? scale : -1;
  y[3] = scaled; y[4] = twice; y[5] = more; y[6] = plain; y[7] = scaled ? extra[0] : 0;
}";

fn constant(index: u32, value: ConstantValue) -> Constant {
    Constant { index, value }
}

#[test]
fn values_reach_derived_constants() {
    let source = format!("{HEADER}#define FIRST 5\n{SOURCE}");
    for sanitize in [false, true] {
        let device = device(sanitize);
        let (y, extra) = (buffer(&device, &[0f32; 8]), buffer(&device, &[3f32; 4]));
        let some = [
            constant(0, ConstantValue::I32(5)),
            constant(1, ConstantValue::Bool(true)),
            constant(7, ConstantValue::F32(0.5)),
        ];
        run(&device, &source, "k", &some, 1, |encoder| {
            encoder.buffer(0, &y, 0);
            encoder.buffer(1, &extra, 0);
        });
        assert_eq!(values::<f32>(&y, 8), [5.0, 1.0, 0.5, 1.0, 10.0, 11.0, 7.0, 3.0]);
        // Another specialisation, whose optional buffer is not bound.
        let some = [constant(0, ConstantValue::I32(-2)), constant(1, ConstantValue::Bool(false))];
        run(&device, &source, "k", &some, 1, |encoder| encoder.buffer(0, &y, 0));
        assert_eq!(values::<f32>(&y, 8), [-2.0, 0.0, -1.0, 0.0, -4.0, 0.0, 7.0, 0.0]);
    }
}

#[test]
fn optional_references_that_are_not_bound_are_not_read() {
    // The plain build's compiler takes the load out of the loop if it may.
    let source = format!(
        "{HEADER}
constant bool masked [[function_constant(0)]];
kernel void k(device float *y [[buffer(0)]], constant int &count [[buffer(1)]],
              device const float *mask [[buffer(2), function_constant(masked)]],
              constant int &stride [[buffer(3), function_constant(masked)]],
              uint lane [[thread_index_in_simdgroup]]) {{
  float total = 0;
  for (int i = 0; i < count; ++i) {{
    total += simd_sum(y[lane]) + (masked ? mask[0] : 1.0f);
    if (masked) mask += stride;
  }}
  y[lane] = total;
}}"
    );
    let mask: Vec<f32> = (0..12).map(|i| i as f32).collect();
    for sanitize in [false, true] {
        let device = device(sanitize);
        let mask = buffer(&device, &mask);
        for (masked, expected) in [(false, 4.0 * 33.0), (true, 4.0 * 32.0 + 18.0)] {
            let y = buffer(&device, &[1f32; 32]);
            run(&device, &source, "k", &[constant(0, ConstantValue::Bool(masked))], 32, |encoder| {
                encoder.buffer(0, &y, 0);
                encoder.bytes(1, &4i32.to_le_bytes());
                if masked {
                    encoder.buffer(2, &mask, 0);
                    encoder.bytes(3, &3i32.to_le_bytes());
                }
            });
            assert_eq!(values::<f32>(&y, 32), [expected; 32]);
        }
    }
}
