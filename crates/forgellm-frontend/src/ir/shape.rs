//! Shapes whose dimensions are constants or symbols.

use std::fmt;

/// One dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dim {
    /// Known when the model is compiled.
    Const(usize),
    /// Rows of this step: one per token to process.
    Rows,
    /// Rows of this step of which something is wanted after the last layer.
    Wanted,
    /// Positions that a row's sequence holds.
    Context,
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dim::Const(size) => write!(f, "{size}"),
            Dim::Rows => f.write_str("rows"),
            Dim::Wanted => f.write_str("wanted"),
            Dim::Context => f.write_str("context"),
        }
    }
}

/// The shape of a value. Activations are `[rows, width]` or `[wanted, width]`; a layer's cache is `[context, width]`,
/// each position holding its key followed by its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    /// How many rows there are.
    pub rows: Dim,
    /// Elements of a row.
    pub width: usize,
}

impl Shape {
    /// `[rows, width]`.
    pub const fn rows(width: usize) -> Shape {
        Shape { rows: Dim::Rows, width }
    }

    /// `[wanted, width]`.
    pub const fn wanted(width: usize) -> Shape {
        Shape { rows: Dim::Wanted, width }
    }

    /// `[context, width]`.
    pub const fn context(width: usize) -> Shape {
        Shape { rows: Dim::Context, width }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {}]", self.rows, self.width)
    }
}
