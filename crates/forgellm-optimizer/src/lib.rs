//! Rewrites of a model's graph: the same values with fewer, larger operations.
//!
//! A rewrite finds a place where it fits and gives a `Patch`; the driver below applies it, logs it and verifies the graph, so
//! that a rewrite that breaks a rule is named, with the node. [`Options`] stop the pipeline after any number of applications
//! and leave rewrites out by name.

mod fuse_gate_up;
mod fuse_norm;
mod fuse_norm_residual;
mod fuse_qkv;
mod fuse_qkv_projection;
mod fuse_qkv_rope;
mod fuse_residual;
mod links;
mod patch;

pub use patch::Applied;

use std::collections::BTreeSet;

use forgellm_frontend::ir::{Graph, NodeId, Stage, Verified, Verify, VerifyError};
use links::Links;
use patch::Patch;

/// The pipeline. Each rewrite runs until it fits nowhere, then the next one.
///
/// The joint projections come first: they leave a norm with the one reader that `fuse_norm` asks for. `fuse_qkv_rope` starts from the
/// slices that `fuse_qkv` leaves, `fuse_qkv_projection` from what it leaves, and `fuse_norm_residual` from projections with norms.
const PIPELINE: &[Rewrite] = &[
    fuse_qkv::REWRITE,
    fuse_gate_up::REWRITE,
    fuse_norm::REWRITE,
    fuse_residual::REWRITE,
    fuse_qkv_rope::REWRITE,
    fuse_qkv_projection::REWRITE,
    fuse_norm_residual::REWRITE,
];

/// Runs the pipeline on `graph`.
///
/// The result depends on nothing but the arguments. Values and nodes are numbered anew, weights keep their ids. The graph is verified after
/// each rewrite, and in debug builds after each application: that alone takes most of the time, for a hundred layers about a second.
pub fn optimize(graph: Verified<Graph>, options: &Options) -> Result<Optimized, OptimizeError> {
    if let Some(name) =
        options.skip.iter().find(|name| !PIPELINE.iter().any(|rewrite| rewrite.name == **name))
    {
        return Err(OptimizeError::UnknownRewrite(name.clone()));
    }
    let mut graph = graph.into_inner();
    let mut log = Vec::new();
    for rewrite in PIPELINE.iter().filter(|rewrite| !options.skip.contains(rewrite.name)) {
        let broken = |source| OptimizeError::Broken { rewrite: rewrite.name, source };
        while options.stop_after.is_none_or(|limit| log.len() < limit) {
            let Some(patch) = first_match(rewrite, &graph) else { break };
            let applied;
            (graph, applied) = patch.apply(graph, rewrite.name, log.len() + 1);
            log.push(applied);
            if cfg!(debug_assertions) {
                graph.verify(&Stage::Fused).map_err(broken)?;
            }
        }
        graph.verify(&Stage::Fused).map_err(broken)?;
    }
    let graph = Verified::new(patch::renumber(graph), Stage::Fused).map_err(OptimizeError::Input)?;
    Ok(Optimized { graph, log })
}

/// How far and with what the pipeline runs; by default all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Stop after so many applications.
    pub stop_after: Option<usize>,
    /// Names of rewrites to leave out; see [`rewrites`].
    pub skip: BTreeSet<String>,
}

/// What the pipeline made.
#[derive(Debug)]
pub struct Optimized {
    /// The graph with every patch applied.
    pub graph: Verified<Graph>,
    /// Every application, in order.
    pub log: Vec<Applied>,
}

/// A rewrite, for help texts.
#[derive(Debug)]
pub struct Rewrite {
    /// Its name, for [`Options::skip`] and the log.
    pub name: &'static str,
    /// What it does, in a line.
    pub doc: &'static str,
    /// The patch of the match whose last operation is this node.
    find: fn(&Links<'_>, NodeId) -> Option<Patch>,
}

/// All rewrites, in the order in which they run.
pub fn rewrites() -> &'static [Rewrite] {
    PIPELINE
}

/// Why a graph could not be rewritten.
#[derive(Debug, thiserror::Error)]
pub enum OptimizeError {
    /// A name in [`Options::skip`] is no rewrite's.
    #[error("there is no rewrite `{0}` to skip; there are: {names}", names = names())]
    UnknownRewrite(String),
    /// A rewrite broke a rule of the graph.
    #[error(
        "rewrite `{rewrite}` broke the graph: {source}. This is a mistake in the rewrite: report it, and skip `{rewrite}` until it is mended"
    )]
    Broken {
        /// Its name.
        rewrite: &'static str,
        /// The node and the rule.
        source: VerifyError,
    },
    /// The graph breaks a rule of fused graphs, though no rewrite did it.
    #[error("the graph cannot be rewritten: {0}")]
    Input(VerifyError),
}

fn names() -> String {
    PIPELINE.iter().map(|rewrite| rewrite.name).collect::<Vec<_>>().join(", ")
}

fn first_match(rewrite: &Rewrite, graph: &Graph) -> Option<Patch> {
    let links = Links::new(graph);
    links.ids().find_map(|id| (rewrite.find)(&links, id))
}
