//! Projects and weights files of tiny models.

use std::fs;
use std::path::Path;

use forgellm_codegen::{Program, plan_hash};
use forgellm_codegen_metal::{
    Gpu, Metal, MetalCodegenError, generate_metal_project, metal_project, write_metal_weights,
};
use forgellm_frontend::arch;
use forgellm_frontend::checkpoint::gguf::GgufFile;
use forgellm_frontend::ir::{DType, Graph, Verified};
use forgellm_frontend::synth::{self, Shape};
use forgellm_plan::{Plan, plan};
use forgellm_runtime::runtime::weights::{Expected, TENSOR_ALIGNMENT, Weights};

fn tiny(folder: &Path, shape: &str, dtype: DType) -> (GgufFile, Verified<Plan>) {
    let path = folder.join("model.gguf");
    synth::write(Shape::find(shape).unwrap(), dtype, 1, &path, &mut |_, _| {}).unwrap();
    let file = GgufFile::open(&path).unwrap();
    let plan = plan(&arch::import(&file).unwrap(), &Metal).unwrap();
    (file, plan)
}

#[test]
fn the_weights_file_holds_what_the_plan_says() {
    for dtype in [DType::F32, DType::Q4_K, DType::Q8_0, DType::MXFP4] {
        let folder = tempfile::tempdir().unwrap();
        let (file, plan) = tiny(folder.path(), "tiny-llama3", dtype);
        let path = folder.path().join("weights");
        write_metal_weights(&plan, &file, &path, &mut |_, _| true).unwrap();
        let hash = plan_hash(&plan);
        let weights = Weights::open(&path, &Expected { layout_version: 1, plan_hash: &hash }).unwrap();
        for planned in &plan.weights {
            assert_eq!(
                weights.tensor(&planned.name, planned.layout.bytes).unwrap().len(),
                planned.layout.bytes
            );
            assert_eq!(weights.offset(&planned.name).unwrap() % TENSOR_ALIGNMENT, 0);
        }
    }
}

#[test]
fn the_same_model_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (file, plan) = tiny(folder.path(), "tiny-gemma3", DType::Q6_K);
    let program = Program { model: "A model".into(), name: "a-model".into(), ..Program::default() };
    for gpu in [Gpu::Apple, Gpu::Simulator] {
        assert_eq!(
            metal_project(&plan, &program, gpu).unwrap(),
            metal_project(&plan, &program, gpu).unwrap()
        );
    }
    let write = |name: &str| {
        let path = folder.path().join(name);
        write_metal_weights(&plan, &file, &path, &mut |_, _| true).unwrap();
        fs::read(path).unwrap()
    };
    assert!(write("one") == write("two"));
}

/// The two kinds of GPU differ in nothing but the GPU, so that what runs on the simulator is what runs on a Mac.
#[test]
fn only_the_gpu_differs() {
    let folder = tempfile::tempdir().unwrap();
    let (_, plan) = tiny(folder.path(), "tiny-qwen2", DType::Q5_0);
    let program = Program { model: "A model".into(), name: "a-model".into(), ..Program::default() };
    let apple = metal_project(&plan, &program, Gpu::Apple).unwrap();
    let simulated = metal_project(&plan, &program, Gpu::Simulator).unwrap();
    let may_differ = |name: &str| {
        ["Cargo.toml", "README.md", "src/main.rs"].contains(&name)
            || ["src/gpu", "src/sim/", "include/"].iter().any(|folder| name.starts_with(folder))
    };
    let rest = |project: &forgellm_codegen::Project| {
        let files = project.files().filter(|(name, _)| !may_differ(name));
        files.map(|(name, text)| (name.to_owned(), text.to_owned())).collect::<Vec<_>>()
    };
    assert!(rest(&apple).len() > 30);
    assert_eq!(rest(&apple), rest(&simulated));
}

#[test]
fn a_graph_that_holds_only_a_config_is_enough() {
    let folder = tempfile::tempdir().unwrap();
    let (file, _) = tiny(folder.path(), "tiny-gemma3", DType::F16);
    let config = arch::import(&file).unwrap().config.clone().unwrap();
    let out = folder.path().join("out");
    generate_metal_project(&Graph::new("tiny").with_config(config), &out, "Tiny").unwrap();
    for name in
        ["Cargo.toml", "build.rs", "src/main.rs", "src/model.rs", "shaders/kernels.metal", "src/gpu/mod.rs"]
    {
        assert!(out.join(name).is_file(), "{name}");
    }
    let nothing = generate_metal_project(&Graph::new("tiny"), &out, "Tiny");
    assert!(matches!(nothing, Err(MetalCodegenError::MissingConfig)));
}
