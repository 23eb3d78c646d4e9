//! Functions of float and half.

use crate::{check, check_within};

#[test]
fn elementary_functions() {
    let x = 0.5f64;
    let cases: Vec<(&str, f64)> = vec![
        ("acos(x[4])", x.acos()),
        ("acosh(x[2])", 2f64.acosh()),
        ("asin(x[4])", x.asin()),
        ("asinh(x[3])", (-1.5f64).asinh()),
        ("atan(x[7])", 100f64.atan()),
        ("atanh(x[4])", x.atanh()),
        ("atan2(x[3], x[5])", (-1.5f64).atan2(3.0)),
        ("cos(x[5])", 3f64.cos()),
        ("cosh(x[2])", 2f64.cosh()),
        ("cospi(x[6])", std::f64::consts::FRAC_1_SQRT_2),
        ("exp(x[3])", (-1.5f64).exp()),
        ("exp2(x[4])", 2f64.sqrt()),
        ("exp10(x[3])", 10f64.powf(-1.5)),
        ("log(x[9])", 7f64.ln()),
        ("log2(x[9])", 7f64.log2()),
        ("log10(x[9])", 7f64.log10()),
        ("pow(x[5], x[4])", 3f64.sqrt()),
        ("powr(x[9], x[3])", 7f64.powf(-1.5)),
        ("rsqrt(x[2])", 1.0 / 2f64.sqrt()),
        ("sin(x[5])", 3f64.sin()),
        ("sinh(x[2])", 2f64.sinh()),
        ("sinpi(x[6])", -std::f64::consts::FRAC_1_SQRT_2),
        ("tan(x[5])", 3f64.tan()),
        ("tanh(x[4])", x.tanh()),
        ("tanpi(x[6])", -1.0),
        ("fast::exp(x[4])", x.exp()),
        ("precise::log(x[5])", 3f64.ln()),
        ("metal::fast::tanh(x[4])", x.tanh()),
        ("exp(float3(x[0], x[1], x[2])).y", 1f64.exp()),
        ("fast::exp2(float4(x[4])).w", 2f64.sqrt()),
    ];
    let cases: Vec<(&str, f32)> = cases.into_iter().map(|(e, v)| (e, v as f32)).collect();
    check_within(5e-7, "", &cases);
}

#[test]
fn exact_functions() {
    check(
        "static float both(float2 v) { return v.x + 100 * v.y; }
         static float parts(float v) { float whole; float part = modf(v, whole); return part + 100 * whole; }
         static float exponent(float v) { int e; float m = frexp(v, e); return m + 100 * e; }
         static float cosine(float v) { float c; float s = sincos(v, c); return s * s + c * c; }",
        &[
            ("ceil(x[3])", -1.0),
            ("floor(x[3])", -2.0),
            ("trunc(x[3])", -1.0),
            ("round(x[3])", -2.0),
            ("round(x[4])", 1.0),
            ("rint(x[4])", 0.0),
            ("rint(x[3])", -2.0),
            ("fract(x[3])", 0.5),
            ("fabs(x[3]) + abs(x[3])", 3.0),
            ("sign(x[3]) + 10 * sign(x[5]) + sign(NAN)", 9.0),
            ("saturate(x[5]) + saturate(x[3])", 1.0),
            ("sqrt(x[7])", 10.0),
            ("copysign(x[5], x[3])", -3.0),
            ("divide(x[5], x[2])", 1.5),
            ("fdim(x[5], x[2]) + fdim(x[2], x[5])", 1.0),
            ("fma(x[2], x[5], x[4])", 6.5),
            ("fmod(x[9], x[2])", 1.0),
            ("fmod(x[3], x[1])", -0.5),
            ("max(x[3], x[5])", 3.0),
            ("min(x[3], NAN)", -1.5),
            ("fmax(NAN, x[5])", 3.0),
            ("max3(x[1], x[5], x[2]) + min3(x[1], x[5], x[2])", 4.0),
            ("median3(x[1], x[5], x[2])", 2.0),
            ("fmedian3(x[5], x[1], x[2])", 2.0),
            ("clamp(x[7], x[0], x[5])", 3.0),
            ("mix(x[2], x[9], x[4])", 4.5),
            ("step(x[1], x[4]) + 2 * step(x[4], x[1])", 2.0),
            ("smoothstep(x[0], x[2], x[1])", 0.5),
            ("ldexp(x[5], n[2])", 12.0),
            ("ilogb(x[7])", 6.0),
            ("parts(x[3])", -100.5),
            ("exponent(x[5])", 200.75),
            ("cosine(x[2]) > 0.999f ? 1 : 0", 1.0),
            ("nextafter(x[1], x[2])", 1.000_000_1),
            ("nextafter(half(x[1]), half(x[2]))", 1.000_976_6),
            ("nextafter(half(x[0]), half(x[3]))", -5.960_464_5e-8),
            ("powr(x[3], x[2])", f32::NAN),
            ("sinpi(x[9]) + cospi(x[9])", -1.0),
            ("cospi(x[4])", 0.0),
            ("both(max(float2(1, 5), float2(3, 2)))", 503.0),
            ("both(max(float2(1, 5), 3))", 503.0),
            ("both(clamp(float2(1, 5), 2, 4))", 402.0),
            ("both(mix(float2(1, 5), float2(3, 7), 0.5))", 602.0),
            ("both(fma(float2(2, 3), float2(4), float2(1, 2)))", 1409.0),
        ],
    );
}

#[test]
fn half_functions_round_once() {
    check(
        "",
        &[
            ("sqrt(half(x[2]))", 1.414_062_5),
            ("exp(half(x[1]))", 2.718_75),
            ("max(half(x[3]), half(x[4]))", 0.5),
            ("fma(half(2048), half(1.5), half(1))", 3072.0),
            ("fma(half(33), half(33), half(-1088))", 1.0),
            ("clamp(half(x[7]), 0.0h, 1.0h)", 1.0),
            ("tanh(half2(x[4], x[0])).x", 0.462_158_2),
        ],
    );
}

#[test]
fn classification() {
    check(
        "static float bits(bool4 b) { return b.x + 10 * b.y + 100 * b.z + 1000 * b.w; }",
        &[
            ("isnan(NAN) + 10 * isnan(x[1])", 1.0),
            ("isinf(-INFINITY) + 10 * isinf(x[8])", 1.0),
            ("isfinite(x[8]) + 10 * isfinite(INFINITY)", 1.0),
            ("isnormal(x[1]) + 10 * isnormal(1e-40f)", 1.0),
            ("isnormal(1e-6h) + 10 * isnormal(1.0h)", 10.0),
            ("signbit(-x[0]) + 10 * signbit(x[1])", 1.0),
            ("isordered(x[1], NAN) + 10 * isunordered(x[1], NAN)", 10.0),
            ("bits(isnan(float4(1, NAN, INFINITY, 2)))", 10.0),
            ("bits(isfinite(half4(1, NAN, INFINITY, 2)))", 1001.0),
        ],
    );
}

#[test]
fn geometry() {
    check(
        "static float3 a() { return float3(1, 2, 2); }",
        &[
            ("dot(a(), float3(1, 10, 100))", 221.0),
            ("length(a())", 3.0),
            ("length_squared(a())", 9.0),
            ("distance(a(), float3(1, 2, 5))", 3.0),
            ("distance_squared(a(), float3(1, 2, 5))", 9.0),
            ("cross(float3(1, 0, 0), float3(0, 1, 0)).z", 1.0),
            ("normalize(float2(3, 4)).x > 0.6f - 1e-6f ? 1 : 0", 1.0),
            ("reflect(float2(1, -1), float2(0, 1)).y", 1.0),
            ("faceforward(float2(0, 1), float2(0, 1), float2(0, 1)).y", -1.0),
            ("dot(half4(1, 2, 3, 4), half4(1))", 10.0),
        ],
    );
}
