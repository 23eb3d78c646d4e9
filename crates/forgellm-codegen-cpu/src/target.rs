//! What the CPU can run, and how it stores weights.

use forgellm_codegen::emit::{layout, operation};
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
        layout(weight, PANELS, pack::packed_bytes)
    }
}
