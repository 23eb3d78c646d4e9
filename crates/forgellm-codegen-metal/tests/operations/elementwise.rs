//! Operations on single elements.

use forgellm_codegen_metal::device::elementwise::{Activation, Elementwise, elementwise_needs};
use forgellm_codegen_metal::device::selfcheck::activation;
use forgellm_codegen_metal::gpu::Buffer;

use crate::gpu::{Bound, Gpu, Random, download, nmse};

/// What an operation is in f64.
fn exact(operation: Elementwise, a: f64, b: f64) -> f64 {
    match operation {
        Elementwise::Add => a + b,
        Elementwise::Mul => a * b,
        Elementwise::Scale(factor) => f64::from(factor) * a,
        Elementwise::Softcap(cap) => f64::from(cap) * (a / f64::from(cap)).tanh(),
        Elementwise::Activation(activation) => activation::exact(activation, a),
    }
}

const OPERATIONS: [Elementwise; 7] = [
    Elementwise::Add,
    Elementwise::Mul,
    Elementwise::Scale(-0.37),
    Elementwise::Softcap(30.0),
    Elementwise::Activation(Activation::Silu),
    Elementwise::Activation(Activation::GeluTanh),
    Elementwise::Activation(Activation::GeluErf),
];

fn run(gpu: &Gpu, operation: Elementwise, a: &Buffer, b: &Buffer, y: &Buffer, elements: usize) {
    let parameter = u32::from_le_bytes(operation.parameter());
    let mut arguments = vec![
        (0, Bound::Buffer(a)),
        (2, Bound::Buffer(y)),
        (3, Bound::U32(elements)),
        (4, Bound::U32(parameter as usize)),
    ];
    if matches!(operation, Elementwise::Add | Elementwise::Mul) {
        arguments.push((1, Bound::Buffer(b)));
    }
    gpu.run(&[(operation.launch(elements), arguments)]);
}

#[test]
fn elements_of_any_number() {
    let gpu = Gpu::new(&elementwise_needs());
    let mut random = Random(5);
    for elements in [1, 3, 4, 5, 1023, 1024, 1025, 3 * 576 + 2] {
        let scaled =
            |random: &mut Random| -> Vec<f32> { random.normals(elements).iter().map(|x| x * 3.0).collect() };
        let (a, b) = (scaled(&mut random), scaled(&mut random));
        for operation in OPERATIONS {
            let (a_buffer, b_buffer, y) = (gpu.upload(&a), gpu.upload(&b), gpu.output(elements));
            run(&gpu, operation, &a_buffer, &b_buffer, &y, elements);
            let want: Vec<f64> =
                a.iter().zip(&b).map(|(a, b)| exact(operation, f64::from(*a), f64::from(*b))).collect();
            let error = nmse(&download(&y), &want);
            assert!(error <= 1e-12, "{operation:?} of {elements}: NMSE {error:e}");

            // In place.
            run(&gpu, operation, &a_buffer, &b_buffer, &a_buffer, elements);
            assert_eq!(download::<f32>(&a_buffer), download::<f32>(&y), "{operation:?} in place");
        }
    }
}

#[test]
fn large_values_stay_numbers() {
    let gpu = Gpu::new(&elementwise_needs());
    let x = [-1e30f32, -1e6, -200.0, -88.0, -20.0, -1e-30, 0.0, 1e-30, 20.0, 88.0, 200.0, 1e6, 1e30];
    let buffer = gpu.upload(&x);
    for operation in OPERATIONS.into_iter().skip(3) {
        let y = gpu.output(x.len());
        run(&gpu, operation, &buffer, &buffer, &y, x.len());
        for (x, y) in x.iter().zip(download::<f32>(&y)) {
            let want = exact(operation, f64::from(*x), 0.0);
            let bound = 4e-7 * want.abs() + 1e-20;
            assert!((f64::from(y) - want).abs() <= bound, "{operation:?} of {x}: {y}, not {want}");
        }
    }
}
