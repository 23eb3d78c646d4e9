//! Model code for a target that does all that a rewrite can put together.

use std::io::Write;
use std::process::{Command, Stdio};

use forgellm_codegen::emit::{self, Dialect};
use forgellm_codegen::{Program, RUSTFMT, RustWriter, VECTOR};
use forgellm_frontend::arch;
use forgellm_frontend::ir::{
    Architecture, DType, Graph, HiddenActivation, Linear, ModelConfig, Node, Norm, Op, RopeScaling, Shape,
    Weight,
};
use forgellm_optimizer::{Options, optimize};
use forgellm_plan::{Layout, Plan, Refusal, Target, plan};

/// A target with all operations that device layers have names for.
struct Everything;

impl Target for Everything {
    fn name(&self) -> &'static str {
        "everything"
    }

    fn layout_version(&self) -> u32 {
        1
    }

    fn kernel(&self, graph: &Graph, node: &Node) -> Result<&'static str, Refusal> {
        emit::operation(graph, node)
    }

    fn layout(&self, weight: &Weight) -> Result<Layout, Refusal> {
        let elements: usize = weight.shape.iter().product();
        let name = if weight.shape.len() == 1 { VECTOR } else { "rows" };
        Ok(Layout { name, bytes: elements * 4 })
    }
}

impl Dialect for Everything {
    fn format(&self, _: DType) -> &'static str {
        "F32"
    }

    fn matrix(&self, format: &str, outputs: usize, inputs: usize) -> String {
        format!("Matrix<{format}, {outputs}, {inputs}>")
    }

    fn vector(&self) -> &'static str {
        "Vector"
    }

    fn weights(&self) -> &'static str {
        "&Weights"
    }

    fn import_formats(&self, w: &mut RustWriter, formats: &[String]) {
        w.imports("crate::device::format", formats);
    }

    fn device(&self) -> &'static [&'static str] {
        &["Matrix", "Vector", "Weights"]
    }

    fn import_weights(&self, _: &mut RustWriter) {}

    fn implementation(&self, _: &mut RustWriter) -> &'static str {
        "impl Model for ForwardPass"
    }

    fn spec_fields(&self, _: &mut RustWriter, _: &Plan) {}

    fn open(&self, w: &mut RustWriter, _: &Plan, _: &Program) {
        w.line("pub fn open() {}");
    }
}

fn config(architecture: Architecture) -> ModelConfig {
    let gemma = architecture == Architecture::Gemma3;
    ModelConfig {
        architecture,
        hidden_size: 64,
        intermediate_size: 96,
        num_layers: 4,
        num_attention_heads: 4,
        num_kv_heads: 2,
        head_dim: 32,
        vocab_size: 100,
        max_seq_len: 128,
        rms_norm_eps: 1e-6,
        rope_theta: 10000.0,
        dtype: DType::F32,
        sliding_window_size: gemma.then_some(16),
        sliding_window_pattern: gemma.then_some(3),
        rope_local_theta: gemma.then_some(1000.0),
        rope_dim: 32,
        rope_scaling: RopeScaling::None,
        rope_freq_factors: false,
        qkv_bias: architecture == Architecture::Qwen2,
        tied_embeddings: true,
        hidden_activation: HiddenActivation::Silu,
        attention_scale: None,
    }
}

fn model_code(architecture: Architecture) -> String {
    let graph = Graph::new(format!("tiny {architecture}")).with_config(config(architecture));
    let graph = optimize(arch::complete(&graph).unwrap(), &Options::default()).unwrap().graph;
    let program = Program { model: "A model".into(), name: "a-model".into(), ..Program::default() };
    emit::model(&plan(&graph, &Everything).unwrap(), &program, &Everything)
}

#[test]
fn the_model_code_of_each_architecture() {
    for architecture in [Architecture::Llama, Architecture::Qwen2, Architecture::Gemma3] {
        let code = model_code(architecture);
        assert_eq!(formatted(&code), code, "{architecture}");
        // What stands before the layers is the same whatever the rewrites.
        let layers = code.find("/// Weights of layers 0").unwrap();
        insta::assert_snapshot!(format!("{architecture}"), &code[layers..]);
    }
}

/// What rustfmt makes of `code` with the settings of generated projects.
fn formatted(code: &str) -> String {
    let settings: Vec<String> = RUSTFMT.lines().map(|line| line.replace([' ', '"'], "")).collect();
    let mut rustfmt = Command::new("rustfmt")
        .args(["--config", &settings.join(",")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("rustfmt is part of the toolchain");
    rustfmt.stdin.take().unwrap().write_all(code.as_bytes()).unwrap();
    String::from_utf8(rustfmt.wait_with_output().unwrap().stdout).unwrap()
}

/// A norm of half rows could not be told from one of whole rows by a device layer.
#[test]
fn a_projection_that_norms_pieces_of_its_rows_is_refused() {
    let mut graph = Graph::new("pieces");
    let mut weight = |name: &str, shape: &[usize]| {
        graph.add_weight(Weight { name: name.into(), dtype: DType::F32, shape: shape.to_vec() })
    };
    let (half, whole, matrix) = (weight("half", &[8]), weight("whole", &[16]), weight("matrix", &[4, 16]));
    let x = graph.add_value(Shape::rows(16));
    let node = |norm| Node {
        op: Op::Linear(Linear { norm: Some(Norm { weight: norm, eps: 0.0 }), ..Linear::plain(matrix, None) }),
        inputs: vec![x],
        outputs: vec![],
        layer: None,
        label: String::new(),
    };
    assert_eq!(emit::operation(&graph, &node(whole)), Ok("linear"));
    let refusal = emit::operation(&graph, &node(half)).unwrap_err();
    assert_eq!(refusal.to_string(), "tensor `half` [8] norms a projection's rows of 16 piece by piece");
}
