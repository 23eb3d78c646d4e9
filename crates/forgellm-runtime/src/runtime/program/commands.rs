//! The commands of a program, each from its arguments to its output.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::json;

use crate::runtime::chat_template::Message;
use crate::runtime::cli::{Arguments, Command, GenerateArguments, ModelArguments, ServeArguments};
use crate::runtime::engine::Engine;
use crate::runtime::generate::{FinishReason, GenerateError, Request, generate, generate_together};
use crate::runtime::open::{OpenError, OpenOptions};
use crate::runtime::program::answer::Answer;
use crate::runtime::program::notice::Notice;
use crate::runtime::program::{ProgramError, ProgramSpec, Streams, files, report, serve};
use crate::runtime::prompt;
use crate::runtime::sampling::LogitBias;
use crate::runtime::score;
use crate::runtime::server;
use crate::runtime::tokenizer::{Special, Tokenizer, parse_ids};
use crate::runtime::weights::{Expected, Weights};

/// Tokens of an answer unless the user says otherwise.
const DEFAULT_MAX_TOKENS: usize = 256;

/// Everything that a command works with.
pub(super) struct Context<'a, 's, E> {
    pub(super) spec: &'a ProgramSpec,
    open: fn(&OpenOptions) -> Result<E, OpenError>,
    pub(super) arguments: &'a Arguments,
    pub(super) streams: &'a mut Streams<'s>,
    pub(super) interrupted: &'a AtomicBool,
}

/// Runs the command that the arguments name.
pub(super) fn run<E: Engine>(
    spec: &ProgramSpec,
    open: fn(&OpenOptions) -> Result<E, OpenError>,
    arguments: &Arguments,
    streams: &mut Streams<'_>,
    interrupted: &AtomicBool,
) -> Result<(), ProgramError> {
    let mut context = Context { spec, open, arguments, streams, interrupted };
    match &arguments.command {
        None if arguments.server.serve => context.serve(&arguments.server.options),
        None => context.generate(&arguments.generate),
        Some(Command::Chat(options)) => context.chat(options),
        Some(Command::Serve(options)) => context.serve(options),
        Some(Command::Perplexity { file }) => {
            let text = files::read(file)?;
            context.perplexity(&text)
        }
        Some(Command::Logits { ids, top }) => context.logits(ids, *top),
        Some(Command::GenerateIds { ids, max_tokens, copies }) => {
            let prompts: Vec<&[u32]> =
                ids.iter().flat_map(|ids| std::iter::repeat_n(ids.0.as_slice(), *copies)).collect();
            context.generate_ids(&prompts, *max_tokens)
        }
        Some(Command::Batch(options)) => context.batch(options),
        Some(Command::Bench(options)) => context.bench(options),
        Some(Command::Selfcheck) => context.self_check(),
        Some(Command::Tokenize { special, bos_eos }) => context.tokenize(*special, *bos_eos),
        Some(Command::Detokenize { ids }) => context.detokenize(ids),
    }
}

impl<E: Engine> Context<'_, '_, E> {
    fn serve(&mut self, arguments: &ServeArguments) -> Result<(), ProgramError> {
        // What is wrong with the address shows before the model is loaded; who connects meanwhile waits.
        let listener = serve::listen(arguments)?;
        let mut options = serve::options(arguments);
        let trace = serve::trace(arguments, &mut options)?;
        let tokenizer = self.tokenizer()?;
        let template = prompt::chat_template(self.spec, &tokenizer)?;
        let kept = arguments.keep.unwrap_or(options.parallel);
        let mut engine = self.engine(0, options.parallel.saturating_add(kept))?;
        serve::reserve(&mut engine)?;
        let weights = files::length(&files::weights(self.spec, self.arguments)?)?;
        let model = server::Model { spec: *self.spec, tokenizer, template };
        let (name, parallel) = (self.spec.name, options.parallel);
        let served = serve::Served { name, parallel, weights };
        serve::announce(served, &engine, &listener, self.arguments.model.json, self.streams)?;
        let served = serve::run(&mut engine, model, options, listener, self.interrupted);
        let traced = trace.map_or(Ok(()), serve::TraceFile::finish);
        served.and(traced)?;
        self.tell_profile(&engine);
        Ok(())
    }

    fn generate(&mut self, arguments: &GenerateArguments) -> Result<(), ProgramError> {
        let sampling = arguments.sampling.over(&self.spec.sampling);
        sampling.validate()?;
        let bias = LogitBias::new(arguments.sampling.logit_bias.iter().copied(), self.spec.vocab)?;
        let prompt = files::prompt(arguments)?;
        let start = Instant::now();
        let tokenizer = self.tokenizer()?;
        let is_chat = arguments.chat || arguments.system.is_some();
        let ids = if is_chat {
            self.chat_prompt(&tokenizer, arguments.system.as_deref(), &prompt)?
        } else {
            let special = if arguments.special { Special::Parse } else { Special::Plain };
            prompt::text(self.spec, &tokenizer, &prompt, special)?
        };
        let max_tokens = arguments.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS);
        let mut engine = self.engine(ids.len().saturating_add(max_tokens), 1)?;
        let load = start.elapsed();

        let decoder = if is_chat { tokenizer.stream() } else { tokenizer.stream_continuation() };
        let out: Option<&mut dyn Write> =
            if self.arguments.model.json { None } else { Some(&mut *self.streams.out) };
        let mut answer = Answer::new(decoder, &arguments.stop, out);
        let request = Request {
            held: &[],
            prompt: &ids,
            max_tokens,
            sampling,
            logit_bias: Some(&bias),
            logprobs: arguments.logprobs,
            end_ids: if arguments.ignore_eos { &[] } else { self.spec.end_ids },
        };
        let sequence = engine.begin().map_err(GenerateError::from)?;
        let generation =
            generate(&mut engine, sequence, &request, self.interrupted, |token| answer.push(token))?;
        let text = answer.finish(generation.finish_reason)?;

        if self.arguments.model.json {
            self.print_json(&report::generation_json(&text, &generation, load))?;
        } else if !arguments.quiet {
            self.tell(&report::summary(&generation, load));
        }
        self.tell_profile(&engine);
        match generation.finish_reason {
            FinishReason::Interrupted => Err(ProgramError::Interrupted),
            _ => Ok(()),
        }
    }

    fn chat_prompt(
        &self,
        tokenizer: &Tokenizer,
        system: Option<&str>,
        prompt: &str,
    ) -> Result<Vec<u32>, ProgramError> {
        let Some(template) = prompt::chat_template(self.spec, tokenizer)? else {
            let message = "this model has no chat template; use it without --chat and --system";
            return Err(ProgramError::Usage(message.to_owned()));
        };
        let system = system.map(|content| Message::new("system", content));
        let messages: Vec<Message> = system.into_iter().chain([Message::new("user", prompt)]).collect();
        Ok(prompt::chat(self.spec, tokenizer, &template, &messages)?)
    }

    fn perplexity(&mut self, text: &str) -> Result<(), ProgramError> {
        let ids = prompt::text(self.spec, &self.tokenizer()?, text, Special::Plain)?;
        if ids.len() < 2 {
            return Err(ProgramError::Usage(
                "the text has fewer than two tokens, so there is nothing to score".into(),
            ));
        }
        let mut engine = self.engine(ids.len(), 1)?;
        let result = score::perplexity(&mut engine, &ids, self.interrupted)?;
        if self.arguments.model.json {
            self.print_json(&result)?;
        } else {
            let (tokens, nll, perplexity) = (result.tokens, result.mean_nll, result.perplexity);
            self.print(&format!("perplexity {perplexity:.4} over {tokens} tokens (mean nll {nll:.6})\n"))?;
        }
        self.tell_profile(&engine);
        Ok(())
    }

    fn logits(&mut self, ids: &[u32], top: usize) -> Result<(), ProgramError> {
        let mut engine = self.engine(ids.len(), 1)?;
        let positions = score::logits(&mut engine, ids, top, self.interrupted)?;
        if self.arguments.model.json {
            self.print_json(&json!({ "positions": positions }))?;
        } else {
            for position in positions {
                self.print(&format!(
                    "position {} (logsumexp {:.4})\n",
                    position.position, position.logsumexp
                ))?;
                for (id, logit) in position.ids.iter().zip(&position.logits) {
                    self.print(&format!("{id:>8} {logit:>10.4}\n"))?;
                }
            }
        }
        self.tell_profile(&engine);
        Ok(())
    }

    fn generate_ids(&mut self, prompts: &[&[u32]], max_tokens: usize) -> Result<(), ProgramError> {
        let longest = prompts.iter().map(|prompt| prompt.len()).max().unwrap_or(0);
        let mut engine = self.engine(longest.saturating_add(max_tokens), prompts.len())?;
        let sequences = generate_together(&mut engine, prompts, max_tokens, self.interrupted)?;
        if self.arguments.model.json {
            self.print_json(&json!({ "ids": sequences.first(), "sequences": sequences }))?;
        } else {
            for ids in &sequences {
                self.print(&(join(ids) + "\n"))?;
            }
        }
        self.tell_profile(&engine);
        Ok(())
    }

    fn self_check(&mut self) -> Result<(), ProgramError> {
        let mut engine = self.engine(self.spec.default_context, 2)?;
        let mut notice = Notice::new("checking the kernels", self.arguments.generate.quiet);
        let entries = engine.self_check(&mut |done, total| {
            notice.steps(done, total);
            !self.interrupted.load(Ordering::Relaxed)
        });
        drop(notice);
        let Some(entries) = entries.map_err(GenerateError::from)? else {
            let target = self.spec.target;
            let message =
                format!("unsupported: this program was compiled for {target}, a target without a self-check");
            return Err(ProgramError::Usage(message));
        };
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(ProgramError::Interrupted);
        }
        if self.arguments.model.json {
            self.print_json(&report::check_json(&entries))?;
        } else {
            self.print(&report::check_table(&entries))?;
        }
        let failed = entries.iter().filter(|entry| entry.failure.is_some());
        let failed: Vec<String> = failed.map(|entry| entry.name.clone()).collect();
        if failed.is_empty() { Ok(()) } else { Err(ProgramError::SelfCheck { failed, all: entries.len() }) }
    }

    fn tokenize(&mut self, special: bool, bos_eos: bool) -> Result<(), ProgramError> {
        let special = if special { Special::Parse } else { Special::Plain };
        let ids = self.tokenizer()?.encode(&files::read_standard_input()?, special, bos_eos)?;
        if self.arguments.model.json {
            self.print_json(&json!({ "ids": ids }))
        } else {
            self.print(&(join(&ids) + "\n"))
        }
    }

    fn detokenize(&mut self, ids: &[u32]) -> Result<(), ProgramError> {
        let read;
        let ids = if ids.is_empty() {
            read = parse_ids(&files::read_standard_input()?).map_err(|error| {
                ProgramError::Usage(format!(
                    "{error}; standard input must hold ids, separated by spaces or commas"
                ))
            })?;
            &read
        } else {
            ids
        };
        let text = self.tokenizer()?.decode(ids)?;
        if self.arguments.model.json { self.print_json(&json!({ "text": text })) } else { self.print(&text) }
    }

    pub(super) fn tokenizer(&self) -> Result<Tokenizer, ProgramError> {
        let _notice = Notice::new("loading the tokenizer", self.arguments.generate.quiet);
        Ok(Tokenizer::from_file(files::tokenizer(self.spec, self.arguments)?)?)
    }

    /// Opens the model for sequences of at least `positions` positions, as far as the model goes, or as the user says.
    pub(super) fn engine(&self, positions: usize, sequences: usize) -> Result<E, ProgramError> {
        let (spec, model) = (self.spec, &self.arguments.model);
        let wanted = positions.min(spec.max_context).max(spec.default_context);
        let context = model.context.unwrap_or(wanted);
        if context > spec.max_context {
            return Err(ProgramError::ContextTooLong { asked: context, max: spec.max_context });
        }
        let mut notice = Notice::new("loading the weights", self.arguments.generate.quiet);
        let path = files::weights(spec, self.arguments)?;
        let expected = Expected { layout_version: spec.layout_version, plan_hash: spec.plan_hash };
        let weights = Arc::new(Weights::open(&path, &expected)?);
        if notice.is_shown() {
            // Mapped pages would come from the disk when the prompt first needs them, with nothing to be seen meanwhile.
            weights.read_ahead(&mut |done, total| {
                notice.progress(done, total);
                // What comes next ends for an interruption in its own way.
                !self.interrupted.load(Ordering::Relaxed)
            });
        }
        let &ModelArguments { threads, kv_cache, profile, .. } = model;
        Ok((self.open)(&OpenOptions { weights, threads, context, sequences, kv_cache, profile })?)
    }

    pub(super) fn print(&mut self, text: &str) -> Result<(), ProgramError> {
        self.streams.out.write_all(text.as_bytes()).map_err(ProgramError::Output)
    }

    pub(super) fn print_json(&mut self, value: &impl serde::Serialize) -> Result<(), ProgramError> {
        let line = report::json_line(value)?;
        self.print(&line)
    }

    /// A line on standard error. That nobody reads it is no reason to fail.
    pub(super) fn tell(&mut self, line: &str) {
        let _ = writeln!(self.streams.err, "{line}");
    }

    pub(super) fn tell_profile(&mut self, engine: &E) {
        if self.arguments.model.profile {
            let entries = engine.profile();
            let text = if entries.is_empty() {
                "this device layer keeps no profile".to_owned()
            } else {
                report::profile_table(&entries)
            };
            self.tell(text.trim_end());
        }
    }
}

fn join(ids: &[u32]) -> String {
    ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")
}
