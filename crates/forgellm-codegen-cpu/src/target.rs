//! What the CPU can run, and how it stores weights.

use forgellm_codegen::VECTOR;
use forgellm_frontend::ir::{Dim, Graph, Node, Op, Weight};
use forgellm_plan::{Layout, Refusal, Target};

use crate::pack;

/// Layout of matrices: panels of 16 rows, see `device::matrix`.
pub const PANELS: &str = "panel16";

/// The CPU target.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cpu;

impl Target for Cpu {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn layout_version(&self) -> u32 {
        1
    }

    /// Kernels are functions of the device layer.
    fn kernel(&self, graph: &Graph, node: &Node) -> Result<&'static str, Refusal> {
        if let Some(weight) =
            node.op.weights().iter().map(|id| graph.weight(*id)).find(|weight| weight.shape.len() > 2)
        {
            return Err(Refusal(format!("tensor `{}` has {} dimensions", weight.name, weight.shape.len())));
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
            Op::QkvRope(_) => "rope_kv",
        })
    }

    fn layout(&self, weight: &Weight) -> Result<Layout, Refusal> {
        let too_large = || Refusal("its size does not fit into memory".into());
        match weight.shape[..] {
            [elements] => {
                if !weight.dtype.is_float() {
                    return Err(Refusal(format!("vectors of type {} are not supported", weight.dtype)));
                }
                Ok(Layout { name: VECTOR, bytes: elements.checked_mul(4).ok_or_else(too_large)? })
            }
            [out, inputs] => {
                let bytes = pack::packed_bytes(weight.dtype, out, inputs).ok_or_else(|| {
                    Refusal(format!(
                        "rows of {inputs} are not whole blocks of {}, or too large",
                        weight.dtype
                    ))
                })?;
                Ok(Layout { name: PANELS, bytes })
            }
            _ => {
                Err(Refusal(format!("it has {} dimensions, only 1 and 2 are supported", weight.shape.len())))
            }
        }
    }
}
