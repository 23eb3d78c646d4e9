//! The self-check on the simulated GPU: it finds right kernels right, leaves out none, and names those that are wrong.

mod broken;
#[allow(dead_code, reason = "shared with the tests of projections, which use the rest")]
#[path = "../it/buckets.rs"]
mod buckets;
mod model;
#[allow(dead_code, reason = "shared with the tests of attention, which use the rest")]
#[path = "../kv/paged.rs"]
mod paged;
mod right;
#[allow(dead_code, reason = "shared with the tests of projections, which use the rest")]
#[path = "../few_rows/weights.rs"]
mod weights;
#[path = "../it/weights_file.rs"]
mod weights_file;
