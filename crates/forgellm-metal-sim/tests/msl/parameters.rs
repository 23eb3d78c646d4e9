//! What the translator says of a kernel's parameters.

use forgellm_metal_sim::sim::translate::{AddressSpace, Builtin, KernelInfo, ParameterKind, translate};

fn kernel(source: &str) -> KernelInfo {
    translate(source, "test.metal").unwrap_or_else(|error| panic!("{error}")).kernels.remove(0)
}

fn buffers(kernel: &KernelInfo) -> Vec<(&str, u32, bool, AddressSpace, &str, bool, bool)> {
    kernel
        .parameters
        .iter()
        .filter_map(|p| match &p.kind {
            ParameterKind::Buffer { index, writable, space, element, reference, optional } => {
                Some((p.name.as_str(), *index, *writable, *space, element.as_str(), *reference, *optional))
            }
            _ => None,
        })
        .collect()
}

#[test]
fn buffers_and_their_indexes() {
    let kernel = kernel(
        "kernel void k(device float *a, const device metal::vec<T, 2> * b [[ buffer(0) ]], constant Args &args,\n\
         device unsigned int const *c [[buffer(3), function_constant(has_c)]], constant const int *d,\n\
         device half (&e)[4]) {}",
    );
    use AddressSpace::{Constant, Device};
    assert_eq!(
        buffers(&kernel),
        [
            ("a", 1, true, Device, "float", false, false),
            ("b", 0, false, Device, "metal::vec<T, 2>", false, false),
            ("args", 2, false, Constant, "Args", true, false),
            ("c", 3, false, Device, "unsigned int", false, true),
            ("d", 4, false, Constant, "int", false, false),
            ("e", 5, true, Device, "half", true, false),
        ]
    );
    assert_eq!(kernel.parameters[3].at.line, 2);
}

#[test]
fn threadgroup_memory_and_builtins() {
    let kernel = kernel(
        "kernel void k(threadgroup float *s [[threadgroup(1)]], threadgroup half *t, uint3 a [[thread_position_in_grid]],\n\
         ushort b [[simdgroup_index_in_threadgroup]], uint c [[thread_execution_width]],\n\
         uint d[[dispatch_threads_per_threadgroup]]) {}",
    );
    let kinds: Vec<&ParameterKind> = kernel.parameters.iter().map(|p| &p.kind).collect();
    assert_eq!(
        kinds,
        [
            &ParameterKind::Threadgroup { index: 1 },
            &ParameterKind::Threadgroup { index: 0 },
            &ParameterKind::Builtin(Builtin::ThreadPositionInGrid),
            &ParameterKind::Builtin(Builtin::SimdgroupIndexInThreadgroup),
            &ParameterKind::Builtin(Builtin::ThreadsPerSimdgroup),
            &ParameterKind::Builtin(Builtin::ThreadsPerThreadgroup),
        ]
    );
}

#[test]
fn lines_come_from_line_markers() {
    let source = "# 1 \"test.metal\"\n\n# 1 \"other.h\" 1\nstruct S { float a; };\n# 2 \"test.metal\" 2\n\
                  kernel void k(device S *s) {}\n";
    let kernel = kernel(source);
    assert_eq!((kernel.at.file.as_str(), kernel.at.line), ("test.metal", 2));
}

#[test]
fn built_in_values() {
    let names = [
        "thread_position_in_grid",
        "thread_position_in_threadgroup",
        "threadgroup_position_in_grid",
        "threads_per_threadgroup",
        "threadgroups_per_grid",
        "threads_per_grid",
    ];
    let parameters: String = names.iter().map(|n| format!(", ushort3 {n}_v [[{n}]]")).collect();
    let stores: String =
        names.iter().enumerate().map(|(i, n)| format!("y[{i}] = {n}_v.x + 100 * {n}_v.z; ")).collect();
    let source = format!(
        "{}kernel void k(device uint *y [[buffer(0)]]{parameters}, uint index [[thread_index_in_threadgroup]],
  uint lane [[thread_index_in_simdgroup]], ushort group [[simdgroup_index_in_threadgroup]],
  uint groups [[simdgroups_per_threadgroup]], uint quad [[quadgroup_index_in_threadgroup]],
  uint quads [[quadgroups_per_threadgroup]], uint in_quad [[thread_index_in_quadgroup]],
  uint width [[threads_per_simdgroup]]) {{
  if (index != 38) return;
  {stores}
  y[6] = lane; y[7] = group; y[8] = groups; y[9] = quad; y[10] = quads; y[11] = in_quad; y[12] = width;
}}",
        crate::HEADER
    );
    let device = crate::device(true);
    let y = crate::buffer(&device, &[0u32; 16]);
    crate::run(&device, &source, "k", &[], 50, |encoder| encoder.buffer(0, &y, 0));
    assert_eq!(crate::values::<u32>(&y, 13), [38, 38, 0, 150, 101, 150, 6, 1, 2, 9, 13, 2, 32]);
}
