//! The command `bench`.

mod plot;
mod table;

use serde_json::{Value, json};

use crate::runtime::bench::{BenchResult, bandwidth, bench};
use crate::runtime::cli::BenchArguments;
use crate::runtime::engine::Engine;
use crate::runtime::program::commands::Context;
use crate::runtime::program::notice::Notice;
use crate::runtime::program::{ProgramError, files};

/// What reading memory gave.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bandwidth {
    threads: usize,
    bytes_a_second: f64,
}

impl<E: Engine> Context<'_, '_, E> {
    /// The command, from its arguments to the table.
    pub(super) fn bench(&mut self, arguments: &BenchArguments) -> Result<(), ProgramError> {
        let options = arguments.options();
        let mut engine = self.engine(options.positions(), options.sequences())?;
        let mut notice = Notice::new("measuring", false);
        let (mut done, runs) = (0, options.runs() as u64);
        let mut progress = || {
            done += 1;
            notice.steps(done, runs);
        };
        let bytes = self.spec.weight_bytes_a_step;
        let result = bench(&mut engine, &options, bytes, self.interrupted, &mut progress)?;
        drop(notice);
        self.tell_profile(&engine);
        // Its memory and threads would only be in the way.
        drop(engine);
        let bandwidth = if arguments.no_bandwidth { None } else { Some(self.bandwidth()?) };
        if let Some(path) = &arguments.plot {
            let drawn = plot::draw(self.spec.name, &result, bandwidth);
            let failed = |reason| ProgramError::Plot { path: path.clone(), reason };
            files::write_whole(path, drawn.map_err(failed)?.as_bytes())?;
        }
        if self.arguments.model.json {
            self.print_json(&json(&result, bandwidth))
        } else {
            self.print(&table::table(&result, bandwidth))
        }
    }

    fn bandwidth(&self) -> Result<Bandwidth, ProgramError> {
        let _notice = Notice::new("measuring the memory", false);
        let machine = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = self.arguments.model.threads.unwrap_or_else(machine);
        Ok(Bandwidth { threads, bytes_a_second: bandwidth(threads)? })
    }
}

/// For scripts. `prompt` and `generation` are the first case of each.
fn json(result: &BenchResult, bandwidth: Option<Bandwidth>) -> Value {
    let mut value = json!({
        "prompt": result.prompts.first(),
        "generation": result.generations.first(),
        "prompts": result.prompts,
        "generations": result.generations,
        "memory": result.memory,
    });
    if let Some(Bandwidth { threads, bytes_a_second }) = bandwidth {
        value["bandwidth"] = json!({"threads": threads, "bytes_per_second": bytes_a_second});
        for (index, case) in result.generations.iter().enumerate() {
            if let Some(roof) = case.roof(bytes_a_second) {
                value["generations"][index]["roof"] =
                    json!({"tokens_per_second": roof.tokens_a_second, "reached": roof.reached});
            }
        }
    }
    value
}

#[cfg(test)]
mod tests;
