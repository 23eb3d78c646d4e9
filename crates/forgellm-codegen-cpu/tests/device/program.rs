//! Small programs over the device layer, with their inputs as tokens of an embedding table.

use forgellm_codegen_cpu::device::matrix::format::F32;
use forgellm_codegen_cpu::device::matrix::{Format, Isa, Matrix};
use forgellm_codegen_cpu::device::{Buffer, embed};
use forgellm_codegen_cpu::device::{
    CacheSpec, CpuEngine, CpuOptions, Model, ModelSpec, Run, WantedBuffer, select_wanted,
};
use forgellm_codegen_cpu::pack;
use forgellm_codegen_cpu::runtime::engine::{Engine, Row, RowResult, SequenceId, Token, Want};
use forgellm_frontend::ir::DType;

/// Rows of the table.
pub const TABLE: usize = 48;

/// Threads to test with.
pub const THREADS: [usize; 3] = [1, 2, 4];

/// Numbers in -1 .. 1 from a seed (xorshift).
pub fn random(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

/// The f32 matrix [OUT, IN] of these values, in the device's layout.
pub fn f32_matrix<const OUT: usize, const IN: usize>(values: &[f32]) -> Matrix<'static, F32, OUT, IN> {
    matrix::<F32, OUT, IN>(DType::F32, bytemuck::cast_slice(values))
}

/// The matrix of these GGUF bytes, in the device's layout.
pub fn matrix<F: Format, const OUT: usize, const IN: usize>(
    dtype: DType,
    gguf: &[u8],
) -> Matrix<'static, F, OUT, IN> {
    let mut packed = vec![0; pack::packed_bytes(dtype, OUT, IN).expect("whole blocks")];
    pack::pack(dtype, OUT, IN, gguf, &mut packed).expect("the bytes of the matrix");
    Matrix::new(packed.leak()).expect("the packed bytes of the matrix")
}

/// A model whose layers are `body`, from the embedding in the first W columns to `output`, which is its hidden state and its logits.
pub struct Program<const W: usize, const OUT: usize, B> {
    pub table: Matrix<'static, F32, TABLE, W>,
    pub row_arena: usize,
    pub output: Buffer<OUT>,
    pub caches: &'static [CacheSpec],
    pub body: B,
}

impl<const W: usize, const OUT: usize, B> Program<W, OUT, B> {
    pub const X: Buffer<W> = Buffer::at(0);
    pub const Y: Buffer<OUT> = Buffer::at(W);
    const RESULT: WantedBuffer<OUT> = WantedBuffer::at(0);
}

// SAFETY: barriers stand around the body, whose own ones each test answers for; X and Y do not overlap.
unsafe impl<const W: usize, const OUT: usize, B: Fn(&Run<'_>) + Sync> Model for Program<W, OUT, B> {
    fn spec(&self) -> ModelSpec {
        ModelSpec {
            vocab: TABLE,
            positions: 4096,
            row_arena: self.row_arena,
            wanted_arena: OUT,
            widest_input: self.row_arena.max(OUT),
            caches: self.caches,
            hidden: Some(Self::RESULT.any()),
            logits: Self::RESULT.any(),
        }
    }

    fn layers(&self, run: &Run<'_>) {
        embed(run, &self.table, 1.0, Self::X);
        run.barrier();
        (self.body)(run);
    }

    fn head(&self, run: &Run<'_>) {
        select_wanted(run, self.output, Self::RESULT);
    }
}

pub fn options(threads: usize, isa: Isa) -> CpuOptions {
    CpuOptions { threads, sequences: 6, isa: Some(isa), rows: 64, ..CpuOptions::default() }
}

pub fn row(sequence: SequenceId, position: usize, token: u32, want: Want) -> Row {
    Row { token: Token::Id(token), position, sequence, want }
}

pub fn hidden(result: &RowResult) -> &[f32] {
    match result {
        RowResult::Hidden(values) => values,
        other => panic!("{other:?} is no hidden state"),
    }
}

/// Runs `body` from X to Y for 1, 2, 5 and 40 rows on everything, and compares each row with `exact(row of X)`.
pub fn check_rows<const W: usize, const OUT: usize>(
    tolerance: f64,
    extra_arena: usize,
    body: impl Fn(&Run<'_>, Buffer<W>, Buffer<OUT>) + Sync,
    exact: impl Fn(&[f32], usize) -> Vec<f64>,
) {
    let values = random(W as u64, TABLE * W);
    for isa in Isa::available() {
        for threads in THREADS {
            let program = Program::<W, OUT, _> {
                table: f32_matrix(&values),
                row_arena: W + OUT + extra_arena,
                output: Program::<W, OUT, ()>::Y,
                caches: &[],
                body: |run: &Run<'_>| body(run, Buffer::at(0), Buffer::at(W)),
            };
            let mut engine = CpuEngine::open(program, &options(threads, isa)).expect("opens");
            for count in [1, 2, 5, 40] {
                let sequence = engine.begin().expect("a sequence");
                let rows: Vec<Row> =
                    (0..count).map(|at| row(sequence, at, (at * 7 % TABLE) as u32, Want::Hidden)).collect();
                let results = engine.step(&rows).expect("runs");
                for (at, result) in results.iter().enumerate() {
                    let token = at * 7 % TABLE;
                    let want = exact(&values[token * W..][..W], at);
                    assert_eq!(want.len(), OUT);
                    for (column, (got, want)) in hidden(result).iter().zip(want).enumerate() {
                        assert!(
                            (f64::from(*got) - want).abs() <= tolerance,
                            "row {at} of {count}, column {column}: {got}, not {want} ({threads} threads, {})",
                            isa.name()
                        );
                    }
                }
                engine.end(sequence).expect("ends");
            }
        }
    }
}
