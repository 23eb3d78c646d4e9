//! Address spaces: overloads and specialisations by them, and what mixes them up.

use forgellm_metal_sim::sim::compile::{CompileError, compile};
use forgellm_metal_sim::sim::translate::translate;

use crate::{HEADER, buffer, device, run, values};

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

/// The errors of a kernel with this body.
fn mistakes(body: &str) -> Vec<String> {
    let source = format!(
        "{HEADER}struct Block {{ float scale; int numbers[4]; }};
constant float table[2] = {{1, 2}};
template <typename T> void store(device T *x, threadgroup const T *y) {{ x[0] = y[0]; }}
static void fill(threadgroup float *p) {{ p[0] = 1; }}
static float sum(thread const Block &b) {{ return b.scale; }}
kernel void k(device float4 *v, device Block *b, constant float *c, device float *d, device atomic_uint *a) {{
  threadgroup float t[64];
{body}
}}
"
    );
    match compile(&source, "k.metal", &[], &[], false, &crate::cache()) {
        Ok(_) => Vec::new(),
        Err(CompileError::Invalid { diagnostics, .. }) => {
            diagnostics.iter().map(ToString::to_string).collect()
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn correct_uses_of_all_spaces_pass() {
    let none = mistakes(
        "fill(t); store(d, t); Block own = b[0]; b[1] = own; float s = sum(own);
         v[0] = float4(v[1].xyz, 1) * v[2].x; v[1].xy += 1; v[2] = max(v[3], 0.0f);
         device const float *e = d + 1; constant float *q = table; thread float *n = &s; threadgroup float4 *w = (threadgroup float4 *)t;
         device const uint8_t *bytes = (device const uint8_t *)b->numbers;
         device auto *f = b->numbers; auto g = d;
         simdgroup_float8x8 m; simdgroup_load(m, t); simdgroup_load(m, d, 8); simdgroup_store(m, t);
         atomic_fetch_add_explicit(a, 1, memory_order_relaxed);
         float whole; s += modf(d[0], whole) + as_type<float>(b->numbers[0]) + dot(w[0], v[1]);
         d[0] = s + e[0] + q[0] + n[0] + bytes[0] + f[0] + g[1] + c[0] + t[1] + whole;",
    );
    assert_eq!(none, Vec::<String>::new());
}

#[test]
fn mixing_spaces_is_an_error_at_its_place() {
    let cases = [
        (
            "  fill(d);",
            "k.metal:10:3: no matching function for call to 'fill'\n    k.metal:6: note: candidate function not \
                        viable: cannot pass pointer to device memory as a pointer to threadgroup memory in 1st argument",
        ),
        ("  store(t, t);", "k.metal:10:3: no matching function for call to 'store'"),
        ("  d[0] = sum(b[0]);", "k.metal:10:10: no matching function for call to 'sum'"),
        (
            "  device float *e = t;",
            "k.metal:10:17: cannot initialize a variable of type 'device float *' with an lvalue of type 'threadgroup float[64]'",
        ),
        (
            "  device float *e = d; e = t;",
            "k.metal:10:28: assigning to 'device float *' from incompatible type 'threadgroup float[64]'",
        ),
        (
            "  thread float &r = d[0];",
            "k.metal:10:17: binding reference of type 'float' to value of type 'device float'",
        ),
        (
            "  threadgroup float *w = reinterpret_cast<threadgroup float *>(d);",
            "k.metal:10:26: reinterpret_cast from",
        ),
        (
            "  thread atomic_uint *x = nullptr; atomic_store_explicit(x, 1, memory_order_relaxed);",
            "k.metal:10:36: no matching",
        ),
        ("  c[0] = 1;", "k.metal:10:8: read-only variable is not assignable"),
        ("  constant float local = 1;", "k.metal:10:18: automatic variable qualified with an address space"),
    ];
    for (body, expected) in cases {
        let found = mistakes(body);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{body}\n{found:#?}");
    }
}

#[test]
fn pointers_must_name_a_space() {
    let refused = |source: &str| translate(source, "k.metal").unwrap_err().to_string();
    let expected = |at: &str, ty: &str| {
        format!(
            "k.metal:{at}: a pointer or reference to `{ty}` without an address space: write `device`, `constant`, \
             `threadgroup` or `thread` before the type"
        )
    };
    assert_eq!(refused("float f(float *x);"), expected("1", "float"));
    assert_eq!(refused("void f(device float *x,\n const float4 &y);"), expected("2", "float4"));
    assert_eq!(refused("struct S { int a; };\nvoid f() {\n  S const *p = 0; }"), expected("3", "S"));
    assert_eq!(refused("kernel void k(half *x [[buffer(0)]]) {}"), expected("1", "half"));
    assert_eq!(refused("void f(device int *x) { auto y = (uint *)x; }"), expected("1", "uint"));
    for accepted in [
        "float f(const device float *x, float device *y, thread int &z, threadgroup metal::vec<float, 4> *w);",
        "struct S { int a; int b; };\nint f(S s) { return s.a * s.b; }",
        "template <typename T> T f(T x) { return x * x; }",
        "int f(int a, int b) { return (int)a * b + int(a) * b; }",
    ] {
        translate(accepted, "k.metal").unwrap();
    }
}
