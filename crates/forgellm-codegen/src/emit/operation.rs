//! Which function of the device layer computes a node.

use forgellm_frontend::ir::{Dim, Graph, Linear, Node, Op, QkvRope};
use forgellm_plan::Refusal;

/// The device layer's function for a node, which is also the kernel's name in a plan; or what no device layer can do.
pub fn operation(graph: &Graph, node: &Node) -> Result<&'static str, Refusal> {
    let weights = node.op.weights();
    if let Some(weight) = weights.iter().map(|id| graph.weight(*id)).find(|weight| weight.shape.len() > 2) {
        return Err(Refusal(format!("tensor `{}` has {} dimensions", weight.name, weight.shape.len())));
    }
    if let Some(projection) = node.op.projection() {
        whole_rows(graph, node, projection)?;
    }
    Ok(match &node.op {
        Op::Embed { .. } => "embed",
        Op::RmsNorm { residual: false, .. } => "rms_norm",
        Op::RmsNorm { residual: true, .. } => "rms_norm_add",
        Op::Linear(linear) if linear.gate.is_some() => "linear_gated",
        Op::Linear(_) => "linear",
        Op::Slice { .. } => "slice",
        Op::Rope(_) => "rope",
        Op::KvWrite { .. } => {
            let widths: Vec<usize> = node.inputs.iter().map(|value| graph.shape(*value).width).collect();
            if widths.windows(2).any(|pair| pair[0] != pair[1]) {
                return Err(Refusal(format!("keys and values have different widths, {widths:?}")));
            }
            "kv_write"
        }
        Op::Attention(_) => "attention",
        Op::Activation(_) => "activation",
        Op::Add => "add",
        Op::Mul => "mul",
        Op::Scale { .. } => "scale",
        Op::Softcap { .. } => "softcap",
        Op::SelectWanted => {
            let from_rows = node.inputs.iter().all(|value| graph.shape(*value).rows == Dim::Rows);
            if !from_rows {
                return Err(Refusal("wanted rows can only be taken from all rows".into()));
            }
            "select_wanted"
        }
        Op::QkvRope(QkvRope { projection: None, .. }) => "rope_kv",
        Op::QkvRope(QkvRope { projection: Some(_), .. }) => "qkv_rope_kv",
    })
}

/// Device layers norm what they project over whole rows only.
fn whole_rows(graph: &Graph, node: &Node, projection: &Linear) -> Result<(), Refusal> {
    let width = node.inputs.first().map_or(0, |value| graph.shape(*value).width);
    for norm in projection.add.iter().chain(&projection.norm) {
        let weight = graph.weight(norm.weight);
        if weight.shape != [width] {
            return Err(Refusal(format!(
                "tensor `{}` {:?} norms a projection's rows of {width} piece by piece",
                weight.name, weight.shape
            )));
        }
    }
    Ok(())
}
