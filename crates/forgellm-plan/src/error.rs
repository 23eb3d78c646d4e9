//! Why a graph has no plan.

use crate::VerifyPlanError;

/// What a target says of a node or a weight that it cannot run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// Why a graph has no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The target has no kernel for a node.
    #[error("target {target} cannot run {node}: {refusal}")]
    Node {
        /// The target.
        target: &'static str,
        /// The node, with its layer and label.
        node: String,
        /// The reason.
        refusal: Refusal,
    },
    /// The target cannot store a weight.
    #[error("target {target} cannot store tensor `{tensor}`: {refusal}")]
    Weight {
        /// The target.
        target: &'static str,
        /// The tensor.
        tensor: String,
        /// The reason.
        refusal: Refusal,
    },
    /// The graph lacks a result.
    #[error("the graph gives no logits")]
    NoLogits,
    /// The plan is wrong: a bug of the planner.
    #[error(transparent)]
    Verify(#[from] VerifyPlanError),
}
