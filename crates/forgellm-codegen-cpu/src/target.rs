//! What the CPU can run, and how it stores weights.

use forgellm_codegen::VECTOR;
use forgellm_codegen::emit::operation;
use forgellm_frontend::ir::{Graph, Linear, Node, Op, Weight};
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

    /// They save dispatches, of which the CPU has none: each thread would norm all rows for its share of the outputs.
    fn unwanted_rewrites(&self) -> &'static [&'static str] {
        &["fuse_qkv_projection", "fuse_norm_residual"]
    }

    /// Kernels are functions of the device layer.
    fn kernel(&self, graph: &Graph, node: &Node) -> Result<&'static str, Refusal> {
        let refused = |what: &str, rewrite: &str| {
            Err(Refusal(format!("it has no {what} as one operation; leave out the rewrite {rewrite}")))
        };
        match node.op.projection() {
            Some(Linear { add: Some(_), .. }) => refused("sum and projection", "fuse_norm_residual"),
            Some(_) if matches!(node.op, Op::QkvRope(_)) => {
                refused("projection and rope", "fuse_qkv_projection")
            }
            _ => operation(graph, node),
        }
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
