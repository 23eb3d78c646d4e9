//! What is refused, where, and with which words.

use forgellm_metal_sim::sim::translate::translate;

/// The message for a text; it must not be translated.
fn refused(source: &str) -> String {
    match translate(source, "test.metal") {
        Ok(translation) => panic!("translated:\n{}", translation.text),
        Err(error) => error.to_string(),
    }
}

#[test]
fn parts_of_the_language_that_the_simulator_lacks() {
    let cases = [
        ("vertex float4 v() {}", "test.metal:1: `vertex`: the simulator runs compute kernels only"),
        (
            "\n[[fragment]] float4 f() {}",
            "test.metal:2: `[[fragment]]`: the simulator runs compute kernels only",
        ),
        (
            "kernel void k(texture2d<float> t [[texture(0)]]) {}",
            "test.metal:1: `texture2d`: the simulator has no textures",
        ),
        ("kernel void k(sampler s) {}", "test.metal:1: `sampler`: the simulator has no textures"),
        (
            "struct A { device float *x [[id(0)]]; };",
            "test.metal:1: `[[id(0)]]`: the simulator has no argument buffers: pass the buffers one by one",
        ),
        (
            "[[visible]] float f(float x) { return x; }",
            "test.metal:1: `[[visible]]`: the simulator has no function tables or function stitching",
        ),
        ("float f(double x);", "test.metal:1: `double`: the Metal Shading Language has no double: use float"),
        ("void f() { throw 1; }", "test.metal:1: `throw`: the Metal Shading Language does not have it"),
        (
            "void f() {\n  threadgroup float x[4];\n}",
            "test.metal:2: a threadgroup variable in a function that is not a kernel: declare it in the kernel and pass \
             a pointer",
        ),
        (
            "float4 f() { return (float4)(1, 2, 3, 4); }",
            "test.metal:1: `(float4)(…, …)`: this casts the last of the values: leave out the parentheses around the type",
        ),
        (
            "kernel void k() {\n threadgroup float x = 0; }",
            "test.metal:2: a threadgroup variable with an initial value: threadgroup memory starts undefined: let threads \
             assign it, then use a barrier",
        ),
    ];
    for (source, expected) in cases {
        assert_eq!(refused(source), expected);
    }
}

#[test]
fn parameters_that_mean_nothing() {
    let cases = [
        (
            "kernel void k(device float *x,\n  uint i [[thread_index_in_warp]]) {}",
            "test.metal:2: unknown attribute `[[thread_index_in_warp]]` on this declaration",
        ),
        (
            "kernel void k(uint i) {}",
            "test.metal:1: parameter `i` of kernel `k` has neither an address space (`device`, `constant`, `threadgroup`) \
             nor an attribute such as `[[thread_position_in_grid]]`",
        ),
        (
            "kernel void k(device float *x [[buffer(1)]], device float *y [[buffer(1)]]) {}",
            "test.metal:1: buffer index 1 of parameter `y` of kernel `k` is taken by another parameter",
        ),
        (
            "kernel void k(device float *x [[buffer(31)]]) {}",
            "test.metal:1: buffer index 31 of parameter `x` of kernel `k` is too large: indexes go up to 30",
        ),
        (
            "kernel void k(constant float x [[buffer(0)]]) {}",
            "test.metal:1: parameter `x` must be a pointer or a reference",
        ),
        (
            "kernel void k(device float *x [[buffer(N)]]) {}",
            "test.metal:1: `[[buffer(N)]]` needs a number as its index",
        ),
    ];
    for (source, expected) in cases {
        assert_eq!(refused(source), expected);
    }
}

#[test]
fn names_and_indexes_declared_twice() {
    assert_eq!(
        refused("kernel void k() {}\nkernel void k() {}"),
        "test.metal:2: kernel `k` is declared twice"
    );
    assert_eq!(
        refused("constant int a [[function_constant(3)]];\nconstant int b [[function_constant(3)]];"),
        "test.metal:2: function constant 3 is declared twice"
    );
    assert_eq!(
        refused("template [[host_name(\"x\")]] kernel decltype(f<int>) f<int>;"),
        "test.metal:1: no kernel template `f` is defined before this instantiation"
    );
    assert_eq!(
        refused("constant int n [[function_constant(0)]];\nconstant int a[2] = {n, 1};"),
        "test.metal:2: an array or constexpr computed from a function constant: its value is not known when the text is \
         compiled: use a scalar `constant`"
    );
}

#[test]
fn broken_text_is_an_error_with_a_place() {
    assert_eq!(refused("kernel void k() {\n"), "test.metal:1: a `{` has no matching `}`");
    assert_eq!(refused("int x\n"), "test.metal:1: a declaration does not end");
    assert_eq!(refused("}"), "test.metal:1: `}` without its opening bracket");
    assert_eq!(refused("int x = \"abc;\n"), "test.metal:1: a literal does not end: \"abc;");
    assert_eq!(refused("[[kernel void k() {}"), "test.metal:1: an attribute list does not end with `]]`");
    // Cut anywhere, a text is refused or translated, without a panic.
    let source = "template <typename T> [[kernel]] void f(device T *x [[buffer(0)]]) { threadgroup T a[3], b; x[0] = a[1]; }\n\
                  template [[host_name(\"f\")]] kernel decltype(f<int>) f<int>;\n\
                  constant int n [[function_constant(0)]]; constant int m = n + 1;";
    for end in 0..source.len() {
        let _ = translate(&source[..end], "test.metal");
    }
}

/// Any text is refused or translated: tokens that mean something to the translator, in no order that does.
#[test]
fn no_text_makes_it_panic() {
    const WORDS: [&str; 52] = [
        "kernel",
        "template",
        "<",
        ">",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "[[",
        "]]",
        ";",
        ",",
        "=",
        "::",
        "*",
        "&",
        "device",
        "constant",
        "threadgroup",
        "thread",
        "float",
        "half4",
        "struct",
        "S",
        "f",
        "x",
        "1",
        "2.5h",
        "0x",
        "buffer(0)",
        "host_name(\"a\")",
        "function_constant(0)",
        "thread_position_in_grid",
        "decltype",
        "operator",
        "namespace",
        "extern",
        "\"C\"",
        "enum",
        "using",
        "static_cast",
        "is_function_constant_defined",
        "default",
        "const",
        "alignas",
        "#pragma unroll (N)\n",
        "\n",
        "# 3 \"a.h\" 1\n",
        "typename",
        ":",
    ];
    let mut state = 1u64;
    let mut random = |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    let mut translated = 0;
    for _ in 0..30_000 {
        let length = 1 + random(40);
        let text: Vec<&str> = (0..length).map(|_| WORDS[random(WORDS.len())]).collect();
        translated += usize::from(translate(&text.join(" "), "test.metal").is_ok());
    }
    assert!(translated > 0);
    // Much of the same.
    for text in ["(", "[[", "{", "namespace a {", "template <", "a < ", "struct a {", "f((", "[[buffer("] {
        let _ = translate(&text.repeat(3_000), "test.metal");
        let _ = translate(&format!("kernel void k(device float *x {}", text.repeat(3_000)), "test.metal");
    }
}
