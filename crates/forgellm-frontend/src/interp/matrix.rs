//! Values of a step.

/// Rows of f32.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    width: usize,
    data: Vec<f32>,
}

impl Matrix {
    /// A matrix of `data`, row after row. Panics where `data` is no whole number of rows of `width`, which must not be 0.
    pub fn new(width: usize, data: Vec<f32>) -> Matrix {
        assert!(data.len().is_multiple_of(width), "{} elements are no rows of {width}", data.len());
        Matrix { width, data }
    }

    /// A matrix of zeros.
    pub fn zeros(rows: usize, width: usize) -> Matrix {
        Matrix::new(width, vec![0.0; rows * width])
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.data.len() / self.width
    }

    /// Elements of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// All elements, row after row.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// All elements, row after row.
    pub fn data_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// A row. Panics where there is none of this index.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.data[row * self.width..(row + 1) * self.width]
    }

    /// The rows in order.
    pub fn iter(&self) -> std::slice::ChunksExact<'_, f32> {
        self.data.chunks_exact(self.width)
    }

    /// The rows in order.
    pub fn iter_mut(&mut self) -> std::slice::ChunksExactMut<'_, f32> {
        self.data.chunks_exact_mut(self.width)
    }

    /// Columns `start .. start + len`.
    pub fn columns(&self, start: usize, len: usize) -> Matrix {
        Matrix::new(len, self.iter().flat_map(|row| &row[start..start + len]).copied().collect())
    }

    /// Each element replaced by `f` of it.
    pub fn map(mut self, f: impl Fn(f32) -> f32) -> Matrix {
        self.data.iter_mut().for_each(|x| *x = f(*x));
        self
    }

    /// Each element combined with that of `other`, which has the same shape.
    pub fn zip(mut self, other: &Matrix, f: impl Fn(f32, f32) -> f32) -> Matrix {
        assert_eq!((self.width, self.data.len()), (other.width, other.data.len()));
        self.data.iter_mut().zip(&other.data).for_each(|(a, b)| *a = f(*a, *b));
        self
    }
}
