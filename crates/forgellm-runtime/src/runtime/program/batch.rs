//! The command `batch`.

use std::sync::atomic::Ordering;

use serde_json::json;

use crate::runtime::batch::{Batch, BatchOptions, Counts, Identity};
use crate::runtime::cli::BatchArguments;
use crate::runtime::engine::Engine;
use crate::runtime::program::ProgramError;
use crate::runtime::program::commands::Context;
use crate::runtime::program::notice::Notice;
use crate::runtime::prompt;
use crate::runtime::server::Model;

impl<E: Engine> Context<'_, '_, E> {
    /// The command, from its arguments to the complete output.
    pub(super) fn batch(&mut self, arguments: &BatchArguments) -> Result<(), ProgramError> {
        let options =
            BatchOptions { input: &arguments.input, output: &arguments.output, parallel: arguments.parallel };
        let identity = Identity {
            model: self.spec.name,
            plan: self.spec.plan_hash,
            context: self.arguments.model.context.unwrap_or(self.spec.default_context),
            kv_cache: self.arguments.model.kv_cache,
        };
        // What is wrong with the files shows before the model is loaded.
        let mut batch = Batch::open(options, identity)?;
        if !batch.is_done() {
            let tokenizer = self.tokenizer()?;
            let template = prompt::chat_template(self.spec, &tokenizer)?;
            // As many again keep beginnings that prompts share.
            let mut engine = self.engine(0, 2 * arguments.parallel)?;
            let model = Model { spec: *self.spec, tokenizer, template };
            let mut notice = Notice::new("answering", arguments.quiet);
            let mut progress =
                |counts: Counts| notice.items(counts.done, counts.requests, counts.before, "requests");
            let interrupted = self.interrupted;
            batch.answer(&mut engine, model, &mut progress, &|| interrupted.load(Ordering::Relaxed))?;
            drop(notice);
            self.tell_profile(&engine);
        }
        let Counts { requests, done, before, failed } = batch.counts();
        if !batch.is_done() {
            if !arguments.quiet {
                self.tell(&format!(
                    "{done} of {requests} requests are answered; run the command again to go on"
                ));
            }
            return Err(ProgramError::Interrupted);
        }
        let output = batch.finish()?;
        if self.arguments.model.json {
            self.print_json(&json!({
                "output": output, "requests": requests, "failed": failed, "answered_before": before,
            }))
        } else {
            if !arguments.quiet {
                let before = if before > 0 { format!(", {before} of them before") } else { String::new() };
                let failed = if failed > 0 { format!("; {failed} got an error") } else { String::new() };
                let output = output.display();
                self.tell(&format!(
                    "{requests} requests answered{before}{failed}; the answers are in {output}"
                ));
            }
            Ok(())
        }
    }
}
