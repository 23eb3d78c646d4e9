//! A weights file for tests.

use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;

use forgellm_codegen_metal::device::Vector;
use forgellm_codegen_metal::device::format::Format;
use forgellm_codegen_metal::device::weights::Matrix;
use forgellm_runtime::runtime::weights::{
    DATA_ALIGNMENT, Expected, FORMAT, KEY_FORMAT, KEY_LAYOUT_VERSION, KEY_MODEL, KEY_PLAN_HASH, Weights,
};

/// Weights, one after the other.
#[derive(Default)]
pub struct Data(Vec<u8>);

impl Data {
    fn add(&mut self, bytes: &[u8]) -> usize {
        let offset = self.0.len().next_multiple_of(256);
        self.0.resize(offset, 0);
        self.0.extend(bytes);
        offset
    }

    pub fn vector(&mut self, values: &[f32]) -> Vector {
        Vector { offset: self.add(bytemuck::cast_slice(values)), len: values.len() }
    }

    /// A packed matrix.
    pub fn matrix<F: Format, const OUT: usize, const IN: usize>(
        &mut self,
        packed: &[u8],
    ) -> Matrix<F, OUT, IN> {
        assert_eq!(F::INFO.bytes(OUT, IN), Some(packed.len()));
        Matrix::at(self.add(packed))
    }

    /// The file of one tensor that holds everything.
    pub fn file(&self) -> Arc<Weights> {
        let mut header = format!(
            "{{\"__metadata__\":{{\"{KEY_FORMAT}\":\"{FORMAT}\",\"{KEY_LAYOUT_VERSION}\":\"1\",\"{KEY_PLAN_HASH}\":\"plan\",\
             \"{KEY_MODEL}\":\"test\"}},"
        );
        let length = self.0.len();
        write!(header, "\"all\":{{\"dtype\":\"U8\",\"shape\":[{length}],\"data_offsets\":[0,{length}]}}}}")
            .unwrap();
        let padded = (header.len() + 8).next_multiple_of(DATA_ALIGNMENT) - 8;
        let mut bytes = (padded as u64).to_le_bytes().to_vec();
        bytes.extend(header.bytes());
        bytes.resize(8 + padded, b' ');
        bytes.extend(&self.0);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.safetensors");
        fs::write(&path, bytes).unwrap();
        Arc::new(Weights::open(&path, &Expected { layout_version: 1, plan_hash: "plan" }).unwrap())
    }
}
