//! Projects and weights files of tiny models.

use std::fs;
use std::path::Path;

use forgellm_codegen::{Program, plan_hash};
use forgellm_codegen_cpu::{Cpu, CpuCodegenError, cpu_project, generate_cpu_project, write_cpu_weights};
use forgellm_frontend::arch;
use forgellm_frontend::checkpoint::gguf::GgufFile;
use forgellm_frontend::ir::{DType, Graph, Stage, Verified, verify};
use forgellm_frontend::synth::{self, Shape};
use forgellm_optimizer::{Options, optimize};
use forgellm_plan::{Plan, Target, plan};
use forgellm_runtime::runtime::weights::{DATA_ALIGNMENT, Expected, TENSOR_ALIGNMENT, Weights, WeightsError};

fn tiny(folder: &Path, shape: &str, dtype: DType) -> (GgufFile, Verified<Plan>) {
    let path = folder.join("model.gguf");
    synth::write(Shape::find(shape).unwrap(), dtype, 1, &path, &mut |_, _| {}).unwrap();
    let file = GgufFile::open(&path).unwrap();
    let plan = plan(&arch::import(&file).unwrap(), &Cpu).unwrap();
    (file, plan)
}

#[test]
fn the_weights_file_is_aligned_and_whole() {
    for dtype in [DType::F32, DType::Q4_K, DType::Q8_0, DType::MXFP4] {
        let folder = tempfile::tempdir().unwrap();
        let (file, plan) = tiny(folder.path(), "tiny-llama3", dtype);
        let path = folder.path().join("weights");
        let mut seen = (0, 0);
        write_cpu_weights(&plan, &file, &path, &mut |done, all| {
            seen = (done, all);
            true
        })
        .unwrap();
        assert!(seen.0 > 0 && seen.0 == seen.1, "{seen:?}");

        let hash = plan_hash(&plan);
        let weights = Weights::open(&path, &Expected { layout_version: 1, plan_hash: &hash }).unwrap();
        assert_eq!(weights.data().as_ptr() as usize % DATA_ALIGNMENT.min(4096), 0);
        for planned in &plan.weights {
            let bytes = weights.tensor(&planned.name, planned.layout.bytes).unwrap();
            assert_eq!(bytes.len(), planned.layout.bytes);
            assert_eq!(weights.offset(&planned.name).unwrap() % TENSOR_ALIGNMENT, 0);
        }
        // Standard tools can open it.
        let whole = fs::read(&path).unwrap();
        let standard = safetensors::SafeTensors::deserialize(&whole).unwrap();
        assert!(standard.tensor("output_norm.weight").is_ok());

        let wrong = Weights::open(&path, &Expected { layout_version: 1, plan_hash: "another" });
        assert!(matches!(wrong, Err(WeightsError::Plan { .. })));
        let old = Weights::open(&path, &Expected { layout_version: 2, plan_hash: &hash });
        assert!(matches!(old, Err(WeightsError::Layout { .. })));
    }
}

/// What the rewrites that the CPU does not want put together, it refuses; after all others it runs every architecture.
#[test]
fn unwanted_rewrites_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let unwanted = |rewrites: &[&str]| rewrites.iter().map(|name| name.to_string()).collect();
    for shape in ["tiny-llama", "tiny-qwen2", "tiny-gemma3"] {
        let (file, _) = tiny(folder.path(), shape, DType::Q8_0);
        let planned = |skip: &[&str]| {
            let options = Options { skip: unwanted(skip), ..Options::default() };
            plan(&optimize(arch::import(&file).unwrap(), &options).unwrap().graph, &Cpu)
        };
        planned(Cpu.unwanted_rewrites()).unwrap();
        for (kept, refusal) in [
            ("fuse_qkv_projection", "leave out the rewrite fuse_qkv_projection"),
            ("fuse_norm_residual", "leave out the rewrite fuse_norm_residual"),
        ] {
            let skip: Vec<&str> =
                Cpu.unwanted_rewrites().iter().copied().filter(|name| *name != kept).collect();
            match planned(&skip) {
                Ok(_) => assert!(kept == "fuse_norm_residual" && shape != "tiny-gemma3", "{kept} {shape}"),
                Err(error) => assert!(error.to_string().ends_with(refusal), "{kept} {shape}: {error}"),
            }
        }
    }
}

#[test]
fn an_interrupted_weights_file_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let (file, plan) = tiny(folder.path(), "tiny-qwen2", DType::Q5_0);
    let path = folder.path().join("weights");
    assert!(write_cpu_weights(&plan, &file, &path, &mut |done, all| done < all / 2).is_err());
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["model.gguf"]);
}

/// A graph without a hidden output makes a program that says so, and never gives another buffer for it.
#[test]
fn a_hidden_state_is_named_only_where_the_graph_has_one() {
    let folder = tempfile::tempdir().unwrap();
    let (file, with) = tiny(folder.path(), "tiny-llama", DType::F16);
    let text = arch::import(&file).unwrap().to_string();
    let (outputs, others): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| line.starts_with("  hidden "));
    assert_eq!(outputs.len(), 1, "{text}");
    let graph: Graph = others.join("\n").parse().unwrap();
    let without = plan(&verify(graph, Stage::Model).unwrap(), &Cpu).unwrap();
    let model = |plan: &Verified<Plan>| {
        let project = cpu_project(plan, &Program { name: "a-model".into(), ..Program::default() }).unwrap();
        project.file("src/model.rs").unwrap().to_owned()
    };
    assert!(model(&with).contains("            hidden: Some(OUTPUT_NORM.any()),\n"), "{}", model(&with));
    assert!(model(&without).contains("            hidden: None,\n"), "{}", model(&without));
}

#[test]
fn the_same_model_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (file, plan) = tiny(folder.path(), "tiny-gemma3", DType::Q6_K);
    let program = Program { model: "A model".into(), name: "a-model".into(), ..Program::default() };
    assert_eq!(cpu_project(&plan, &program).unwrap(), cpu_project(&plan, &program).unwrap());
    let write = |name: &str| {
        let path = folder.path().join(name);
        write_cpu_weights(&plan, &file, &path, &mut |_, _| true).unwrap();
        fs::read(path).unwrap()
    };
    assert!(write("one") == write("two"));
}

#[test]
fn a_graph_that_holds_only_a_config_is_enough() {
    let folder = tempfile::tempdir().unwrap();
    let (file, _) = tiny(folder.path(), "tiny-gemma3", DType::F16);
    let config = arch::import(&file).unwrap().config.clone().unwrap();
    let out = folder.path().join("out");
    generate_cpu_project(&Graph::new("tiny").with_config(config), &out, "Tiny").unwrap();
    for name in
        ["Cargo.toml", "README.md", "src/main.rs", "src/model.rs", "src/runtime/mod.rs", "src/device/mod.rs"]
    {
        assert!(out.join(name).is_file(), "{name}");
    }
    let nothing = generate_cpu_project(&Graph::new("tiny"), &out, "Tiny");
    assert!(matches!(nothing, Err(CpuCodegenError::MissingConfig)));
}

/// A file of an earlier project goes, and a file with the same text is not touched.
#[test]
fn a_project_replaces_an_earlier_one() {
    let folder = tempfile::tempdir().unwrap();
    let (_, plan) = tiny(folder.path(), "tiny-llama", DType::Q4_0);
    let program = Program { model: "A model".into(), name: "a-model".into(), ..Program::default() };
    let project = cpu_project(&plan, &program).unwrap();
    let out = folder.path().join("out");
    project.write(&out).unwrap();
    let time = || fs::metadata(out.join("src/model.rs")).unwrap().modified().unwrap();
    let before = time();
    fs::write(out.join("src/device/stranger.rs"), "").unwrap();
    project.write(&out).unwrap();
    assert!(!out.join("src/device/stranger.rs").exists());
    assert_eq!(time(), before);
}

/// A model file is data: nothing that it says becomes code.
#[test]
fn a_name_cannot_leave_its_comment() {
    let folder = tempfile::tempdir().unwrap();
    let (_, plan) = tiny(folder.path(), "tiny-llama", DType::Q4_0);
    let model = "X\ncompile_error!(\"no\");\r\n//".to_owned();
    let program =
        Program { architecture: model.clone(), model, name: "a-model".into(), ..Program::default() };
    let project = cpu_project(&plan, &program).unwrap();
    for (path, text) in project.files() {
        assert!(text.lines().all(|line| !line.starts_with("compile_error")), "{path}");
    }
}
