//! `metal-sim run`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use forgellm_metal_sim::sim::api::{Constant, Device, Options};
use serde_json::json;

use super::Outcome;
use super::buffers::{self, Content};
use super::values::{self, At};

/// Runs one kernel over a grid.
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
        let device = Device::with(Options::default())?;
        let library = device.library(&source, &label)?;
        let pipeline = device.pipeline(&library, &self.kernel, &self.constants).context("--kernel")?;
        let filled: Vec<_> =
            self.buffers.iter().map(|at| buffers::fill(&device, at)).collect::<Result<_>>()?;
        let mut commands = device.queue()?.commands("run")?;
        let mut encoder = commands.encoder(false, "run");
        encoder.pipeline(&pipeline);
        for filled in &filled {
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
        let timing = commands.commit().wait()?;
        let mut written = Vec::new();
        for filled in &filled {
            written.extend(filled.save()?.map(|path| path.display().to_string()));
        }
        match self.report {
            Format::Text => {
                println!("{}: {:.3} ms", self.kernel, timing.gpu_seconds * 1e3);
                for path in written {
                    println!("wrote {path}");
                }
            }
            Format::Json => {
                let report = json!({"kernel": self.kernel, "seconds": timing.gpu_seconds, "written": written, "findings": []});
                println!("{}", serde_json::to_string_pretty(&report)?);
            }
        }
        Ok(Outcome::Fine)
    }
}
