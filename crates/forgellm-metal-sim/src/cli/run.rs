//! `metal-sim run`.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use forgellm_metal_sim::sim::api::{ArgumentProblem, Constant, Device, GpuError, Options, Pipeline, Timing};
use forgellm_metal_sim::sim::shadow::{Counts, Finding};
use serde_json::json;

use super::Outcome;
use super::buffers::{self, Content, Filled};
use super::values::{self, At};

/// Runs one kernel over a grid. Nothing else of the file is compiled: `list` looks at all of it.
#[derive(Args)]
pub struct Run {
    /// A file in the Metal Shading Language
    file: PathBuf,
    /// The kernel's name
    #[arg(long)]
    kernel: String,
    /// Threadgroups of the grid
    #[arg(long, value_name = "X,Y,Z", value_parser = values::extent, default_value = "1")]
    grid: [usize; 3],
    /// Threads of each threadgroup
    #[arg(long, value_name = "X,Y,Z", value_parser = values::extent, default_value = "1")]
    threads: [usize; 3],
    #[arg(long = "buffer", value_name = "INDEX=CONTENT", value_parser = buffers::parse, help = buffers::HELP)]
    buffers: Vec<At<Content>>,
    /// Bytes that the command carries, as a struct of numbers: 3=u32:128 or 3=u32:128,7,f32:0.5
    #[arg(long = "bytes", value_name = "INDEX=TYPE:NUMBER,…", value_parser = values::bytes)]
    bytes: Vec<At<Vec<u8>>>,
    /// The size of a threadgroup argument: 0=1024
    #[arg(long = "threadgroup-memory", value_name = "INDEX=BYTES", value_parser = values::size)]
    threadgroup_memory: Vec<At<usize>>,
    /// The value of a function constant: 0=u32:4 or 1=bool:true
    #[arg(long = "constant", value_name = "INDEX=TYPE:VALUE", value_parser = values::constant)]
    constants: Vec<Constant>,
    /// A folder in which #includes are looked for
    #[arg(long, value_name = "DIR")]
    include: Vec<PathBuf>,
    /// Check every memory access and every barrier
    #[arg(long)]
    sanitize: bool,
    /// Run under N further orders of the threads too, and compare what is written
    #[arg(long, value_name = "N", default_value = "0")]
    seeds: u32,
    /// Shuffle the order of threads, simdgroups and threadgroups
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Count bytes loaded and stored, barriers, matrix operations
    #[arg(long)]
    count: bool,
    /// Treat warnings as errors: buffers that the kernel does not have
    #[arg(long)]
    strict: bool,
    /// How the outcome is printed
    #[arg(long, value_enum, default_value = "text")]
    report: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

impl Run {
    /// Runs the kernel, writes the buffers that have a file.
    pub fn run(&self) -> Result<Outcome> {
        let label = self.file.display().to_string();
        let source = std::fs::read_to_string(&self.file).with_context(|| format!("cannot read {label}"))?;
        let (sanitize, count, seed, orders) = (self.sanitize, self.count, self.seed, self.seeds);
        let (include, only) = (self.include.clone(), vec![self.kernel.clone()]);
        let options = Options { sanitize, count, seed, orders, include, only, ..Options::default() };
        let device = Device::with(options)?;
        let library = device.library(&source, &label)?;
        let pipeline = device.pipeline(&library, &self.kernel, &self.constants);
        let pipeline = pipeline.map_err(|error| anyhow!("{}: {error}", flag_of(&error)))?;
        let filled: Vec<_> =
            self.buffers.iter().map(|at| buffers::fill(&device, at)).collect::<Result<_>>()?;
        let result = self.dispatch(&device, &pipeline, &filled);
        let warnings = device.warnings();
        for warning in &warnings {
            eprintln!("metal-sim: warning: {warning}");
        }
        if self.strict && !warnings.is_empty() {
            bail!("--strict: there are warnings");
        }
        let (timing, findings) = match result {
            Ok(timing) => (Some(timing), Vec::new()),
            Err(GpuError::Sanitizer { report, .. }) => (None, report.findings),
            Err(error) => return Err(anyhow!("{}: {error}", flag_of(&error))),
        };
        let mut written = Vec::new();
        if findings.is_empty() {
            for filled in &filled {
                written.extend(filled.save()?.map(|path| path.display().to_string()));
            }
        }
        self.print(timing, &findings, &written, &device.counters())?;
        Ok(if findings.is_empty() { Outcome::Fine } else { Outcome::Findings })
    }

    fn dispatch(&self, device: &Device, pipeline: &Pipeline, filled: &[Filled]) -> Result<Timing, GpuError> {
        let mut commands = device.queue()?.commands("run")?;
        let mut encoder = commands.encoder(false, "run");
        encoder.pipeline(pipeline);
        for filled in filled {
            encoder.buffer(filled.index, &filled.buffer, 0);
        }
        for bytes in &self.bytes {
            encoder.bytes(bytes.index, &bytes.value);
        }
        for memory in &self.threadgroup_memory {
            encoder.threadgroup_memory(memory.index, memory.value);
        }
        encoder.dispatch(self.grid, self.threads);
        drop(encoder);
        commands.commit().wait()
    }

    fn print(
        &self,
        timing: Option<Timing>,
        findings: &[Finding],
        written: &[String],
        counts: &[Counts],
    ) -> Result<()> {
        if self.report == Format::Json {
            let report = json!({
                "kernel": self.kernel,
                "seconds": timing.map(|timing| timing.gpu_seconds),
                "written": written,
                "findings": findings,
                "counts": counts,
            });
            println!("{}", serde_json::to_string_pretty(&report)?);
            return Ok(());
        }
        if let Some(timing) = timing {
            println!("{}: {:.3} ms", self.kernel, timing.gpu_seconds * 1e3);
        }
        for finding in findings {
            println!("{finding}");
        }
        for counts in counts {
            println!("{counts}");
        }
        for path in written {
            println!("wrote {path}");
        }
        Ok(())
    }
}

/// The flag that an error of the device is about.
fn flag_of(error: &GpuError) -> &'static str {
    match error {
        GpuError::UnknownFunction { .. } => "--kernel",
        GpuError::Constant { .. } => "--constant",
        GpuError::Argument { problem, .. } => match **problem {
            ArgumentProblem::MissingThreadgroupMemory { .. }
            | ArgumentProblem::ThreadgroupAlignment { .. }
            | ArgumentProblem::ThreadgroupMemory { .. } => "--threadgroup-memory",
            ArgumentProblem::BytesLength { .. } => "--bytes",
            ArgumentProblem::Threads { .. } => "--threads",
            ArgumentProblem::Threadgroups { .. } => "--grid",
            _ => "--buffer or --bytes",
        },
        _ => "the run failed",
    }
}
