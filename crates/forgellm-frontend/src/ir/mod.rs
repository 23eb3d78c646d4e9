//! The graph that is compiled.

mod config;
mod draw;
mod dtype;
mod graph;
mod op;
mod rope;
mod shape;
mod text;
mod verified;
mod verify;

pub use config::{Architecture, ConfigError, HiddenActivation, ModelConfig, RopeScaling};
pub use draw::{View, to_dot, to_svg};
pub use dtype::{DType, UnknownDType};
pub use graph::{Graph, Node, NodeId, Output, OutputRole, ValueId, Weight, WeightId};
pub use op::{Attention, CacheId, Linear, Norm, Op, Part, QkvRope, Rope, RopeStyle};
pub use rope::rope_frequencies;
pub use shape::{Dim, Shape};
pub use text::ParseError;
pub use verified::{Verified, Verify};
pub use verify::{NodeName, Stage, VerifyError, verify};
