//! Vectors: constructors, swizzles, comparisons, conversions, layout; small matrices.

use crate::check;

#[test]
fn constructors() {
    check(
        "static float sum(float4 v) { return v.x + 10 * v.y + 100 * v.z + 1000 * v.w; }",
        &[
            ("sum(float4(x[1], 2, 3, 4))", 4321.0),
            ("sum(float4(x[2]))", 2222.0),
            ("sum((float4)x[2])", 2222.0),
            ("sum(x[5])", 3333.0),
            ("sum(float4(float2(1, 2), 3, 4))", 4321.0),
            ("sum(float4(1, float2(2, 3), 4))", 4321.0),
            ("sum(float4(1, 2, float2(3, 4)))", 4321.0),
            ("sum(float4(float2(1, 2), float2(3, 4)))", 4321.0),
            ("sum(float4(float3(1, 2, 3), 4))", 4321.0),
            ("sum(float4(1, float3(2, 3, 4)))", 4321.0),
            ("sum(float4(int4(1, 2, 3, 4)))", 4321.0),
            ("sum(float4(half4(1, 2, 3, 4)))", 4321.0),
            ("sum(float4(bfloat4(1, 2, 3, 4)))", 4321.0),
            ("sum(float4(uchar4(1, 2, 3, 4)))", 4321.0),
            ("sum(vec<float, 4>(1, 2, 3, 4))", 4321.0),
            ("sum(float4{1, 2, 3, 4})", 4321.0),
            ("sum({1, 2, 3, 4})", 4321.0),
            ("sum(float4{1, 2})", 21.0),
            ("sum(float4{})", 0.0),
            ("int3(float3(1.9, -1.9, 2.5)).y", -1.0),
            ("uint2(3, 4).y + ushort2(5, 6).x + long2(7, 8).y", 17.0),
            ("float2(bool2(true, false)).x", 1.0),
            ("bool2(float2(0, x[4])).y ? 5 : 6", 5.0),
            ("float(half3(bfloat3(1.5)).z)", 1.5),
        ],
    );
}

#[test]
fn swizzles_read_and_write() {
    check(
        "static float written() { float4 v = float4(1, 2, 3, 4); v.xz = float2(9, 8); v.w += 1; v.y *= v.x; v.wx = v.xw; \
         return v.x + 10 * v.y + 100 * v.z + 1000 * v.w; }
         static float colors() { half4 c = half4(1, 2, 3, 4); c.rgb = c.bgr; c.a++; float4 f = float4(c); return f.r + 10 * f.g + 100 * f.b + 1000 * f.a; }
         static float indexed(int i) { float3 v = float3(0); v[i] = 5; v[2] += v[1]; return v.z; }
         template <typename V> static float first(V v) { auto two = v.yx; return two.x; }",
        &[
            ("written()", 5.0 + 180.0 + 800.0 + 9000.0),
            ("colors()", 3.0 + 20.0 + 100.0 + 5000.0),
            ("indexed(n[1])", 5.0),
            ("first(float4(1, 2, 3, 4))", 2.0),
            ("float2(1, 2).yyxx.z", 1.0),
            ("float3(1, 2, 3).zyx.xy.y", 2.0),
            ("dot(float4(1, 2, 3, 4).xyz, float3(1, 10, 100))", 321.0),
        ],
    );
}

#[test]
fn operators() {
    check(
        "static float both(float2 v) { return v.x + 100 * v.y; }
         static float steps() { int2 v = int2(1, 2); int2 old = v++; ++v; v -= 1; v <<= 2; return v.x + 10 * v.y + 100 * old.x; }",
        &[
            ("both(float2(1, 2) + float2(3, 4))", 604.0),
            ("both(2 * float2(x[1], 2) - 1)", 301.0),
            ("both(float2(8, 4) / float2(2, 1))", 404.0),
            ("both(-float2(1, 2))", -201.0),
            ("both(float2(int2(7, 9) % int2(4, 5)))", 403.0),
            ("both(float2(uint2(12, 10) & 10u))", 1008.0),
            ("both(float2(~int2(0, 1)))", -201.0),
            ("both(float2(int2(1, 2) << int2(3, 4)))", 3208.0),
            ("(half2(1, 2) * x[4]).y", 1.0),
            ("steps()", 8.0 + 120.0 + 100.0),
            ("(uchar2(200) + uchar2(100)).x", 44.0),
        ],
    );
}

#[test]
fn comparisons_give_vectors_of_bool() {
    check(
        "static float bits(bool3 b) { return b.x + 10 * b.y + 100 * b.z; }",
        &[
            ("bits(float3(1, 2, 3) < float3(2, 2, 4))", 101.0),
            ("bits(float3(1, 2, 3) >= float3(2, 2, 4))", 10.0),
            ("bits(int3(1, 2, 3) == int3(1, 0, 3))", 101.0),
            ("bits(int3(1, 2, 3) != 2)", 101.0),
            ("bits(!bool3(true, false, true))", 10.0),
            ("bits(bool3(true, false, true) && bool3(true, true, false))", 1.0),
            ("bits(bool3(true, false, true) || bool3(true, true, false))", 111.0),
            ("float3(float3(1, 2, 3) < 2).x", 1.0),
            ("any(float2(0, 1) > x[4]) ? 1 : 0", 1.0),
            ("all(float2(0, 1) > x[4]) ? 1 : 0", 0.0),
            ("select(float2(1, 2), float2(3, 4), bool2(true, false)).x", 3.0),
            ("select(1.0f, 2.0f, x[0] > x[1])", 1.0),
            ("select(int2(1, 2), int2(3, 4), int2(1, 2) == 2).y", 4.0),
        ],
    );
}

#[test]
fn layout() {
    check(
        "struct S { float3 a; packed_float3 b; half c; packed_half4 d; };",
        &[
            ("sizeof(float3)", 16.0),
            ("alignof(float3)", 16.0),
            ("sizeof(half3)", 8.0),
            ("sizeof(uchar3)", 4.0),
            ("sizeof(bool4)", 4.0),
            ("sizeof(long3)", 32.0),
            ("alignof(long4)", 32.0),
            ("sizeof(packed_float3)", 12.0),
            ("alignof(packed_float3)", 4.0),
            ("sizeof(packed_half3)", 6.0),
            ("sizeof(S)", 48.0),
            ("sizeof(size_t)", 8.0),
            ("sizeof(long)", 8.0),
            ("sizeof(float3x3)", 48.0),
            ("sizeof(half4x4)", 32.0),
            ("float(packed_float3(1, 2, 3).y + packed_float3(float3(4)).z)", 6.0),
            ("(packed_float3(1, 2, 3) * 2).z", 6.0),
            ("dot(float3(packed_float3(1, 2, 3)), 1)", 6.0),
            ("float4(packed_char4(1, -2, 3, 4)).y", -2.0),
        ],
    );
}

#[test]
fn bits_and_literals() {
    check(
        "constant float table[] = {1, 2.5, 4};
         constant half4 colors = half4(1, 2, 3, 4);
         static constexpr constant int3 shifts = {13, 19, 12};",
        &[
            ("float(as_type<uint>(x[1]) >> 23)", 127.0),
            ("as_type<float>(0x40490fdbu)", std::f32::consts::PI),
            ("float(as_type<uint2>(half4(1.0h)).x)", 1_006_648_320.0),
            ("float(as_type<ushort>(bfloat(1.0f)))", 16256.0),
            ("0.1 == 0.1f ? 1 : 2", 1.0),
            ("1.5h * 2", 3.0),
            ("1.5bf * 2", 3.0),
            ("sizeof(1.0)", 4.0),
            ("sizeof(1.0h)", 2.0),
            ("0x1p-3", 0.125),
            ("table[1] + colors.w + shifts.y", 25.5),
            ("M_PI_F", std::f32::consts::PI),
            ("INFINITY", f32::INFINITY),
            ("NAN", f32::NAN),
            ("MAXFLOAT", f32::MAX),
            ("numeric_limits<half>::max()", 65504.0),
            ("numeric_limits<float>::lowest()", f32::MIN),
            ("numeric_limits<bfloat>::epsilon()", 0.0078125),
            ("numeric_limits<int>::min()", i32::MIN as f32),
            ("numeric_limits<uchar>::max()", 255.0),
            ("numeric_limits<ulong>::max()", u64::MAX as f32),
            ("numeric_limits<short>::digits", 15.0),
            ("is_same_v<vec<half, 4>, half4> ? 1 : 0", 1.0),
            ("vec_elements<float3>::value + vec_elements<int>::value", 3.0),
        ],
    );
}

#[test]
fn half_and_bfloat_round_each_operation() {
    check(
        "",
        &[
            // 2048 + 1 is not a half, so adding one twice changes nothing.
            ("float((half(2048) + half(x[1])) + half(x[1]))", 2048.0),
            ("float((bfloat(256) + bfloat(x[1])) + bfloat(x[1]))", 256.0),
            ("float(half(x[1]) / half(x[5]))", 0.333_251_95),
            ("float(bfloat(x[1]) / bfloat(x[5]))", 0.333_984_38),
            ("half(x[8])", f32::INFINITY),
            ("float(bfloat(1.00390625f))", 1.0),
            ("float(bfloat(1.01171875f))", 1.015625),
            ("half(x[4]) * x[5]", 1.5),
            ("float(half(bfloat(x[3])))", -1.5),
        ],
    );
}

#[test]
fn matrices_of_columns() {
    check(
        "static float2x3 m() { return float2x3(float3(1, 2, 3), float3(4, 5, 6)); }
         static float3x3 square() { return float3x3(2, 0, 1, 0, 3, 0, 1, 0, 1); }
         static float4x4 four() { float4x4 r = float4x4(2.0f); r[3][0] = 7; r[0][3] = 1; return r; }",
        &[
            ("m()[1][2]", 6.0),
            ("(m() * float2(1, 10)).z", 63.0),
            ("(float3(1, 10, 100) * m()).y", 654.0),
            ("transpose(m())[2].y", 6.0),
            ("(m() * 2 + m())[0].x", 3.0),
            ("(float3x3(1.0f) * square())[2][0]", 1.0),
            ("(square() * square())[0].z", 3.0),
            ("determinant(square())", 3.0),
            ("determinant(four())", 16.0 - 28.0),
            ("determinant(float2x2(1, 2, 3, 4))", -2.0),
            ("float4x4(half4x4(1.5h))[2][2]", 1.5),
            ("square() == square() ? 1 : 0", 1.0),
        ],
    );
}
