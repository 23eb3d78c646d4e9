//! What a target tells the planner.

use forgellm_frontend::ir::{Graph, Node, Weight};

use crate::Refusal;

/// A target's kernel table and weight layouts.
pub trait Target {
    /// Its name: `cpu`, `metal`.
    fn name(&self) -> &'static str;

    /// Grows when any layout changes, so that programs refuse old weight files.
    fn layout_version(&self) -> u32;

    /// Rewrites of the graph that do the target no good, or give operations for which it has no kernel; `forgellm_optimizer::rewrites` has
    /// their names.
    fn unwanted_rewrites(&self) -> &'static [&'static str] {
        &[]
    }

    /// The kernel for a node, or why there is none. A target that lacks a feature refuses here; it never leaves it out.
    fn kernel(&self, graph: &Graph, node: &Node) -> Result<&'static str, Refusal>;

    /// The kernels of projections, by the rows of a step; none where the target has one for all.
    fn projections(&self) -> Vec<Bucket> {
        Vec::new()
    }

    /// How the target stores a weight.
    fn layout(&self, weight: &Weight) -> Result<Layout, Refusal>;
}

/// The kernel for projections of steps of up to so many rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// The most rows; the last bucket of a plan has no limit.
    pub most_rows: Option<usize>,
    /// Its name in the target's device layer.
    pub kernel: &'static str,
    /// Rows that it computes at a time.
    pub tile: usize,
}

/// How a weight is stored in the weights file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Name of the layout.
    pub name: &'static str,
    /// Bytes that it takes.
    pub bytes: usize,
}
