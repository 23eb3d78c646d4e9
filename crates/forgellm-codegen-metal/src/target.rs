//! What Metal GPUs can run, and how they store weights.

use forgellm_codegen::emit::{layout, operation};
use forgellm_frontend::ir::{Graph, Node, Op, Weight};
use forgellm_plan::{Bucket, Layout, Refusal, Target};

use crate::{buckets, pack};

/// Layout of matrices: planes, see `device::format`.
pub const PLANES: &str = "planes";

/// The widest head that the attention kernels take.
const MAX_HEAD_DIM: usize = 256;

/// Parts that the kernels of projections take in one dispatch.
const MAX_PARTS: usize = 3;

/// The Metal target.
#[derive(Debug, Clone, Copy, Default)]
pub struct Metal;

impl Target for Metal {
    fn name(&self) -> &'static str {
        "metal"
    }

    fn layout_version(&self) -> u32 {
        1
    }

    fn kernel(&self, graph: &Graph, node: &Node) -> Result<&'static str, Refusal> {
        if let Op::Attention(attention) = &node.op {
            let head_dim = attention.head_dim;
            if !head_dim.is_multiple_of(8) || head_dim > MAX_HEAD_DIM {
                return Err(Refusal(format!(
                    "heads of {head_dim} elements are not supported, only multiples of 8 up to {MAX_HEAD_DIM}"
                )));
            }
        }
        if let Some(linear) = node.op.projection()
            && linear.parts.len() > MAX_PARTS
        {
            let parts = linear.parts.len();
            return Err(Refusal(format!(
                "a projection of {parts} parts is not supported, only of up to {MAX_PARTS}"
            )));
        }
        operation(graph, node)
    }

    fn projections(&self) -> Vec<Bucket> {
        buckets::buckets()
    }

    fn layout(&self, weight: &Weight) -> Result<Layout, Refusal> {
        layout(weight, PLANES, pack::packed_bytes)
    }
}
