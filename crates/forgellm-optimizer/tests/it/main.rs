//! Tests of the rewrites through the public interface.

mod architectures;
mod equivalence;
mod fires;
mod options;
mod random_graph;
mod sketch;
