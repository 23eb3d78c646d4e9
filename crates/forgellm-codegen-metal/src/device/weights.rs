//! A model's weights: one GPU buffer over the mapped weights file, and where each tensor lies in it.

use std::marker::PhantomData;
use std::sync::Arc;

use crate::device::format::{Format, FormatInfo};
use crate::gpu::{Buffer, Device, GpuError, Memory};
use crate::runtime::open::OpenError;
use crate::runtime::weights::Weights as File;

/// The weights of a program on its GPU.
pub struct Weights {
    file: Arc<File>,
    buffer: Buffer,
}

/// The data section of a weights file as memory that a GPU reads in place.
struct Mapped(Arc<File>);

impl Memory for Mapped {
    fn bytes(&self) -> &[u8] {
        self.0.data()
    }
}

impl Weights {
    /// Gives the file's mapping to the GPU, without a copy.
    pub fn open(device: &Device, file: Arc<File>) -> Result<Weights, GpuError> {
        let memory: Arc<dyn Memory> = Arc::new(Mapped(Arc::clone(&file)));
        Ok(Weights { buffer: device.buffer_over(&memory, "weights")?, file })
    }

    /// The buffer that holds all of them.
    pub(crate) fn buffer(&self) -> &Buffer {
        &self.buffer
    }

    /// Where the tensor `name` of so many bytes lies.
    pub(crate) fn find(&self, name: &str, bytes: usize) -> Result<usize, OpenError> {
        self.file.tensor(name, bytes)?;
        self.file
            .offset(name)
            .ok_or_else(|| OpenError::Device(format!("{name}: it has no place in the file")))
    }
}

/// A vector of f32 in the weights file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vector {
    /// First byte in the weights buffer.
    pub offset: usize,
    /// Number of elements.
    pub len: usize,
}

/// A matrix [OUT, IN] of the format F in the weights file.
#[derive(Debug)]
pub struct Matrix<F, const OUT: usize, const IN: usize> {
    offset: usize,
    format: PhantomData<F>,
}

/// A matrix whose format and sizes are values.
#[derive(Debug, Clone, Copy)]
pub struct AnyMatrix {
    /// How its elements are stored.
    pub format: &'static FormatInfo,
    /// Rows of the matrix.
    pub outputs: usize,
    /// Columns of the matrix.
    pub inputs: usize,
    /// First byte in the weights buffer.
    pub offset: usize,
}

impl<F: Format, const OUT: usize, const IN: usize> Matrix<F, OUT, IN> {
    /// The matrix that starts at this byte of the weights buffer.
    pub fn at(offset: usize) -> Matrix<F, OUT, IN> {
        Matrix { offset, format: PhantomData }
    }

    /// The same place, without its type.
    pub fn any(&self) -> AnyMatrix {
        AnyMatrix { format: F::INFO, outputs: OUT, inputs: IN, offset: self.offset }
    }
}
