//! The kernels of projections that plans choose.

use std::sync::LazyLock;

use forgellm_codegen_metal::Metal;
use forgellm_codegen_metal::device::{Bucket, Projection};
use forgellm_plan::Target;

/// As a generated program has them.
pub fn projections() -> &'static [Bucket] {
    static BUCKETS: LazyLock<Vec<Bucket>> = LazyLock::new(|| {
        let buckets = Metal.projections();
        let buckets = buckets.iter().map(|bucket| Bucket {
            most_rows: bucket.most_rows.unwrap_or(usize::MAX),
            kernel: match bucket.kernel {
                "MatVec" => Projection::MatVec,
                "Gemm" => Projection::Gemm,
                other => panic!("a plan asks for {other}"),
            },
            tile: bucket.tile,
        });
        buckets.collect()
    });
    &BUCKETS
}

/// Rows of the instance for so many.
pub fn tile(rows: usize) -> usize {
    projections().iter().find(|bucket| rows <= bucket.most_rows).unwrap().tile
}
