//! Weight matrices that stay quantised, and their products with activations.
//!
//! Every matrix `[OUT, IN]` lies in memory in one layout for all instruction sets, *panels of 16 output rows*
//! ([`mod@format`] defines it), so that one vector of codes holds 16 rows × 4 consecutive inputs: a dot-product
//! instruction then adds 16 outputs at a time, without sums across a vector, and a block of weights that was
//! unpacked once serves as many activation rows as there are registers. The kernels are written once over
//! [`lanes::Lanes`]; [`isa::Isa`] is the choice made at run time.

pub mod activations;
pub mod format;
pub mod isa;
pub mod lanes;
mod tile;

use std::marker::PhantomData;
use std::ops::Range;

pub use activations::{ActivationBlock, ActivationKind, Activations, quantise_row};
pub use format::Format;
pub use isa::{Isa, IsaError, Kernel};

use tile::TILE_ROWS;

/// Output rows of a panel.
pub const PANEL_ROWS: usize = 16;

/// A weight matrix of `OUT` rows and `IN` columns (`y[OUT] = W[OUT, IN] x[IN]`), packed in panels.
#[derive(Debug)]
pub struct Matrix<'w, F, const OUT: usize, const IN: usize> {
    bytes: &'w [u8],
    format: PhantomData<fn() -> F>,
}

impl<F, const OUT: usize, const IN: usize> Clone for Matrix<'_, F, OUT, IN> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F, const OUT: usize, const IN: usize> Copy for Matrix<'_, F, OUT, IN> {}

impl<'w, F: Format, const OUT: usize, const IN: usize> Matrix<'w, F, OUT, IN> {
    /// Panels; the last may be padded with rows of zeros.
    pub const PANELS: usize = OUT.div_ceil(PANEL_ROWS);
    /// Bytes of a panel.
    pub const PANEL_BYTES: usize = IN / F::BLOCK * F::BLOCK_BYTES;
    /// Bytes of the matrix.
    pub const BYTES: usize = Self::PANELS * Self::PANEL_BYTES;

    /// The matrix that lies in `bytes`, which must be [`Matrix::BYTES`] long. Any alignment will do; the
    /// kernels are fastest on 64 bytes.
    pub fn new(bytes: &'w [u8]) -> Result<Self, LayoutError> {
        const { assert!(OUT > 0 && IN > 0 && IN.is_multiple_of(F::BLOCK), "columns are whole blocks") };
        if bytes.len() != Self::BYTES {
            return Err(LayoutError {
                format: F::NAME,
                out: OUT,
                inputs: IN,
                expected: Self::BYTES,
                found: bytes.len(),
            });
        }
        Ok(Self { bytes, format: PhantomData })
    }

    /// Dequantises `row` into `out` (`[IN]`): the embedding look-up of a table that is also the output head.
    ///
    /// # Panics
    /// Where `row >= OUT` or `out` is not `IN` long: the caller checks token ids before.
    pub fn read_row(&self, row: usize, out: &mut [f32]) {
        assert!(row < OUT && out.len() == IN, "row {row} of {OUT}, {} columns of {IN}", out.len());
        F::read_lane(self.panel(row / PANEL_ROWS), row % PANEL_ROWS, out);
    }

    fn panel(&self, panel: usize) -> &'w [u8] {
        &self.bytes[panel * Self::PANEL_BYTES..][..Self::PANEL_BYTES]
    }
}

/// Takes finished outputs `(panel, first_row, tile)`; see [`Project::project`].
pub type Sink<'a> = dyn FnMut(usize, usize, &[[f32; PANEL_ROWS]]) + 'a;

/// A weight matrix of any format and shape, to be multiplied by activations.
pub trait Project: Sync {
    /// Output values per row.
    fn outputs(&self) -> usize;
    /// Input values per row.
    fn inputs(&self) -> usize;
    /// Panels of [`PANEL_ROWS`] outputs: the unit in which work is shared out.
    fn panels(&self) -> usize;
    /// Bytes of a panel.
    fn panel_bytes(&self) -> usize;
    /// Which form of the activations it reads.
    fn needs(&self) -> ActivationKind;

    /// Multiplies `rows` of `x` by `panels` of the matrix.
    ///
    /// `sink(panel, first_row, tile)` is called with the finished outputs: `tile[i][j]` is output
    /// `panel * 16 + j` of row `first_row + i`; outputs past the matrix are zero. Each pair of panel and row
    /// comes once, in an order of the kernel's choice. The value for a row does not depend on which rows run
    /// with it.
    ///
    /// # Panics
    /// Where `rows` or `panels` are out of range, or `x` lacks the form that [`Project::needs`] names.
    fn project(
        &self,
        isa: Isa,
        x: &Activations<'_>,
        rows: Range<usize>,
        panels: Range<usize>,
        sink: &mut Sink<'_>,
    );
}

impl<F: Format, const OUT: usize, const IN: usize> Project for Matrix<'_, F, OUT, IN> {
    fn outputs(&self) -> usize {
        OUT
    }

    fn inputs(&self) -> usize {
        IN
    }

    fn panels(&self) -> usize {
        Self::PANELS
    }

    fn panel_bytes(&self) -> usize {
        Self::PANEL_BYTES
    }

    fn needs(&self) -> ActivationKind {
        F::NEEDS
    }

    fn project(
        &self,
        isa: Isa,
        x: &Activations<'_>,
        rows: Range<usize>,
        panels: Range<usize>,
        sink: &mut Sink<'_>,
    ) {
        assert_eq!(x.inputs(), IN, "activations of another width");
        assert!(rows.end <= x.rows() && panels.end <= Self::PANELS, "rows or panels out of range");
        let mut tile = [[0.0; PANEL_ROWS]; TILE_ROWS];
        let cached = cached_rows(IN);
        let mut first = rows.start;
        while first < rows.end {
            let last = rows.end.min(first + cached);
            for panel in panels.clone() {
                let weights = self.panel(panel);
                let mut row = first;
                while row < last {
                    let count = tile_rows(last - row);
                    tile::project::<F>(isa, weights, x, row, &mut tile[..count]);
                    sink(panel, row, &tile[..count]);
                    row += count;
                }
            }
            first = last;
        }
    }
}

/// Rows of the next tile where `left` are left: the largest of 8, 4, 2 and 1.
fn tile_rows(left: usize) -> usize {
    1 << left.min(TILE_ROWS).ilog2()
}

/// Rows that all panels are run over before the next rows, so that these activations stay in the L2 cache
/// while panel after panel passes.
fn cached_rows(inputs: usize) -> usize {
    const ACTIVATION_CACHE_BYTES: usize = 384 << 10;
    let row_bytes = (inputs / 32 + 1) * size_of::<ActivationBlock>();
    (ACTIVATION_CACHE_BYTES / row_bytes / TILE_ROWS).max(1) * TILE_ROWS
}

/// The bytes of a matrix do not have the length that its format and shape need.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a {format} matrix of {out} x {inputs} takes {expected} bytes, but {found} were given; \
     the weights file was written for another program"
)]
pub struct LayoutError {
    /// The format's name.
    pub format: &'static str,
    /// Output rows.
    pub out: usize,
    /// Columns.
    pub inputs: usize,
    /// Bytes needed.
    pub expected: usize,
    /// Bytes given.
    pub found: usize,
}
