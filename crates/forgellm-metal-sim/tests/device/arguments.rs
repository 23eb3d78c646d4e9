//! What a device refuses, and how it says so.

use forgellm_metal_sim::sim::api::{Constant, ConstantValue, Device, Encoder, GpuError, Options};

use crate::{buffer, device, run, text};

const SOURCE: &str = "
#include <metal_stdlib>
using namespace metal;
struct Size { uint rows, columns; };
constant uint width [[function_constant(3)]];
kernel void every(device float4 *x [[buffer(0)]], constant Size &size [[buffer(1)]], constant ushort &n [[buffer(2)]],
                device const half *weights [[buffer(3)]], threadgroup float *part [[threadgroup(0)]],
                uint i [[thread_index_in_threadgroup]]) {
  part[i] = float(width + size.rows + n) + float(weights[i]);
  x[i] = float4(part[i]);
}
[[max_total_threads_per_threadgroup(64)]] kernel void small(device float *x [[buffer(0)]]) { x[0] = 1; }
";

/// The error of a dispatch of `every` for which `change` has the last word.
fn refused(change: impl Fn(&Device, &mut Encoder<'_>), size: ([usize; 3], [usize; 3])) -> String {
    let device = device(Options::default());
    run(
        &device,
        SOURCE,
        "every",
        &constants(),
        |encoder| {
            bind(&device, encoder);
            change(&device, encoder);
        },
        size,
    )
    .unwrap_err()
    .to_string()
}

fn constants() -> [Constant; 1] {
    [Constant { index: 3, value: ConstantValue::U32(1) }]
}

/// Binds all that `every` needs.
fn bind(device: &Device, encoder: &mut Encoder<'_>) {
    encoder.buffer(0, &buffer(device, "x", &[0f32; 4096]), 0);
    encoder.bytes(1, &[0; 8]);
    encoder.bytes(2, &[7, 0]);
    encoder.buffer(3, &buffer(device, "weights", &[0u16; 1024]), 0);
    encoder.threadgroup_memory(0, 4096);
}

const SIZE: ([usize; 3], [usize; 3]) = ([1; 3], [32, 1, 1]);
const WHERE: &str = "commands 'test commands', encoder 'test encoder', kernel 'every': ";

#[test]
fn a_complete_dispatch_is_taken() {
    let device = device(Options::default());
    run(&device, SOURCE, "every", &constants(), |encoder| bind(&device, encoder), SIZE).unwrap();
    assert_eq!(device.warnings(), [""; 0]);
}

#[test]
fn offsets() {
    let at = |index: usize, offset: usize| {
        refused(|device, encoder| encoder.buffer(index, &buffer(device, "b", &[0f32; 64]), offset), SIZE)
    };
    assert_eq!(
        at(0, 256),
        format!("{WHERE}buffer 0: offset 256 is past the end of 'b', which has 256 bytes")
    );
    let alignment = "no multiple of";
    assert_eq!(
        at(0, 8),
        format!(
            "{WHERE}buffer 0 (parameter 'x'): offset 8 is {alignment} 16, which the parameter's type asks for"
        )
    );
    assert!(at(1, 2).contains("offset 2 is no multiple of 4"), "{}", at(1, 2));
    assert!(at(2, 2).contains("offset 2 is no multiple of 4"), "{}", at(2, 2));
    assert!(at(3, 1).contains("offset 1 is no multiple of 2"), "{}", at(3, 1));
}

#[test]
fn bytes_and_indexes() {
    let message = refused(|_, encoder| encoder.bytes(2, &[0; 4097]), SIZE);
    assert_eq!(
        message,
        format!("{WHERE}bytes 2: 4097 bytes; 1 to 4096 can be passed, use a buffer for more")
    );
    assert!(refused(|_, encoder| encoder.bytes(2, &[]), SIZE).contains("0 bytes"));
    let message = refused(|_, encoder| encoder.bytes(2, &[1]), SIZE);
    assert_eq!(message, format!("{WHERE}buffer 2 (parameter 'n'): 1 bytes are bound, its type has 2"));
    assert!(
        refused(|_, encoder| encoder.bytes(31, &[1]), SIZE).contains("index 31: there are indexes 0 to 30")
    );
    assert!(refused(|_, encoder| encoder.threadgroup_memory(31, 16), SIZE).contains("index 31"));
}

#[test]
fn threadgroup_memory() {
    let with = |bytes| refused(|_, encoder| encoder.threadgroup_memory(0, bytes), SIZE);
    assert_eq!(with(20), format!("{WHERE}threadgroup memory 0: 20 bytes are no multiple of 16"));
    assert!(with(0).contains("threadgroup memory 0 (parameter 'part') has no size"), "{}", with(0));
    assert!(with(32784).contains("32784 bytes of threadgroup memory"), "{}", with(32784));
}

#[test]
fn what_is_not_bound() {
    let device = device(Options::default());
    let error =
        run(&device, SOURCE, "every", &constants(), |encoder| encoder.bytes(2, &[1, 2]), SIZE).unwrap_err();
    assert_eq!(error.to_string(), format!("{WHERE}buffer 0 (parameter 'x') is not bound"));
    let mut commands = device.queue().unwrap().commands("c").unwrap();
    commands.encoder(false, "e").dispatch([1; 3], [1; 3]);
    let error = commands.commit().wait().unwrap_err().to_string();
    assert_eq!(
        error,
        "commands 'c', encoder 'e', kernel '(none yet)': dispatch without a pipeline; call `pipeline` before it"
    );
}

#[test]
fn grids() {
    let of = |groups, threads| refused(|_, _| {}, (groups, threads));
    assert!(
        of([1; 3], [1025, 1, 1]).contains("1025 x 1 x 1 threads per threadgroup; there can be 1 to 1024")
    );
    assert!(of([1; 3], [32, 32, 2]).contains("32 x 32 x 2 threads"));
    assert!(of([1; 3], [0, 1, 1]).contains("0 x 1 x 1 threads"));
    assert!(of([1, 0, 1], [1; 3]).contains("1 x 0 x 1 threadgroups"));
    assert!(of([1 << 20, 1 << 10, 1], [32, 1, 1]).contains("fewer than 2^32"));
    let device = device(Options::default());
    let x = buffer(&device, "x", &[0f32]);
    let small = |threads| {
        run(&device, SOURCE, "small", &constants(), |e| e.buffer(0, &x, 0), ([1; 3], [threads, 1, 1]))
    };
    small(64).unwrap();
    assert!(small(65).unwrap_err().to_string().contains("there can be 1 to 64"));
}

#[test]
fn functions_and_constants() {
    let device = device(Options::default());
    let library = device.library(SOURCE, "test.metal").unwrap();
    let error = |function: &str, constants: &[Constant]| match device.pipeline(&library, function, constants)
    {
        Ok(_) => panic!("{function} is taken"),
        Err(error) => error.to_string(),
    };
    assert_eq!(error("none", &[]), "test.metal has no kernel 'none'; it has: every, small");
    assert_eq!(
        error("every", &[]),
        "kernel 'every' of test.metal: function constant 3 ('width', of type uint) has no value"
    );
    let of = |index, value| [Constant { index, value }];
    assert_eq!(
        error("every", &of(3, ConstantValue::I32(1))),
        "kernel 'every' of test.metal: function constant 3 ('width') is of type uint, the value is of type int"
    );
    assert_eq!(
        error("every", &of(4, ConstantValue::I32(1))),
        "kernel 'every' of test.metal: function constant 4 is not declared in the text"
    );
    // A kernel that does not use the constant needs no value.
    device.pipeline(&library, "small", &[]).unwrap();
}

#[test]
fn buffers_that_the_kernel_does_not_have_are_a_warning() {
    let device = device(Options::default());
    let x = buffer(&device, "x", &[0f32]);
    run(
        &device,
        SOURCE,
        "small",
        &[],
        |encoder| {
            encoder.buffer(0, &x, 0);
            encoder.buffer(5, &x, 0);
        },
        ([1; 3], [1; 3]),
    )
    .unwrap();
    assert_eq!(device.warnings(), ["kernel 'small' has no buffer 5, but 'x' is bound there"]);
}

#[test]
fn buffers_cannot_be_empty_or_absurd() {
    let device = device(Options::default());
    for bytes in [0, usize::MAX] {
        assert!(matches!(device.buffer(bytes, "b"), Err(GpuError::Memory { .. })));
    }
}

#[test]
fn a_text_that_does_not_compile_names_its_line() {
    let device = device(Options::default());
    let Err(error) = device.library("kernel void a(device float *x) {\n  x[0] = y;\n}\n", "a.metal") else {
        panic!()
    };
    let message = error.to_string();
    assert!(message.contains("a.metal:2") && message.contains("'y'"), "{message}");
}

#[test]
fn a_failing_kernel_does_not_harm_the_next() {
    let device = device(Options::default());
    let source = text("faulty/divergent_barrier.metal");
    let y = buffer(&device, "y", &[0f32; 64]);
    let go = |kernel: &str| {
        let bind = |encoder: &mut Encoder<'_>| {
            encoder.buffer(0, &y, 0);
            encoder.bytes(1, &50u32.to_le_bytes());
        };
        run(&device, &source, kernel, &[], bind, ([5, 1, 1], [64, 1, 1]))
    };
    for _ in 0..3 {
        assert!(matches!(go("faulty"), Err(GpuError::Kernel { .. })));
        go("corrected").unwrap();
    }
    assert_eq!(crate::values::<f32>(&y)[..50], (0..50).rev().map(|i| i as f32).collect::<Vec<_>>());
}

#[cfg(target_os = "linux")]
#[test]
fn faults_of_the_processor_are_errors() {
    let source = "
        #include <metal_stdlib>
        using namespace metal;
        kernel void far(device uint *x [[buffer(0)]], uint i [[thread_position_in_grid]]) {
          x[i] = 1;
          threadgroup_barrier(mem_flags::mem_device);
          if (i == 40) x[-(long(i) << 36)] = 1;
        }
        kernel void quotient(device int *x [[buffer(0)]], uint i [[thread_position_in_grid]]) {
          x[i] = 7 / x[i];
        }
        kernel void nowhere(device uint *x [[buffer(0)]], uint i [[thread_position_in_grid]]) {
          *(device uint *)(ulong(x) | (1ul << 62)) = i;
        }
    ";
    let device = device(Options::default());
    let x = buffer(&device, "x", &[0u32; 64]);
    let go = |kernel: &str, groups: usize| {
        let size = ([groups, 1, 1], [64 / groups, 1, 1]);
        run(&device, source, kernel, &[], |encoder| encoder.buffer(0, &x, 0), size)
    };
    for _ in 0..2 {
        let error = go("far", 1).unwrap_err().to_string();
        assert!(
            error.contains("thread (40, 0, 0) of threadgroup (0, 0, 0): access to unmapped memory at"),
            "{error}"
        );
        assert!(error.ends_with("(test.metal:7)"), "{error}");
        let x = crate::values::<u32>(&x);
        assert_eq!(x, [1; 64]);
    }
    let error = go("nowhere", 1).unwrap_err().to_string();
    if cfg!(target_arch = "x86_64") {
        assert!(error.contains("access to a misaligned or impossible address"), "{error}");
    }
    assert!(error.ends_with("(test.metal:13)"), "{error}");
    let x = buffer(&device, "x", &[0u32; 64]);
    let divide = |groups: usize| {
        let size = ([groups, 1, 1], [64 / groups, 1, 1]);
        run(&device, source, "quotient", &[], |encoder| encoder.buffer(0, &x, 0), size)
    };
    for groups in [1, 8] {
        let error = divide(groups).unwrap_err().to_string();
        assert!(error.contains("division of an integer by zero (test.metal:10)"), "{error}");
    }
}

#[test]
fn too_much_private_memory_does_not_compile() {
    let source = "
        kernel void large(device uint *x [[buffer(0)]], uint i [[thread_position_in_grid]]) {
          uint a[100000];
          for (uint k = 0; k < 100000; ++k) a[k] = x[k % 64];
          x[i] = a[x[i]] + a[i * 7];
        }
    ";
    let device = device(Options::default());
    let Err(error) = device.library(source, "large.metal") else { panic!() };
    let message = error.to_string();
    assert!(message.contains("large.metal:2") && message.contains("stack frame size"), "{message}");
}
