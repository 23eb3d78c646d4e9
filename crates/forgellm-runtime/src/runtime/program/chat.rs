//! The command `chat`: a conversation at the prompt, or line by line with a script.

mod command;
mod history;
mod input;
mod saved;
mod terminal;

use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::runtime::chat_template::{ChatTemplate, Message};
use crate::runtime::cli::ChatArguments;
use crate::runtime::conversation::Conversation;
use crate::runtime::engine::{Engine, EngineError};
use crate::runtime::generate::{FinishReason, GenerateError, Generation, Request};
use crate::runtime::program::answer::Answer;
use crate::runtime::program::commands::Context;
use crate::runtime::program::interrupt::HeldOff;
use crate::runtime::program::{ProgramError, ProgramSpec, Streams, report};
use crate::runtime::prompt;
use crate::runtime::sampling::{LogitBias, SamplingParams};
use crate::runtime::tokenizer::Tokenizer;
pub use command::NoCommand;
use command::{ChatCommand, Typed};
use history::HistoryFile;
use input::{Line, Lines, PlainLines};

/// How it looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// Somebody is at the terminal: errors are told and the conversation goes on.
    Terminal {
        /// Whether colors are wanted.
        has_color: bool,
        /// Whether a line tells about each answer.
        has_summary: bool,
    },
    /// Only answers; an error ends the program.
    Plain,
    /// A JSON object for each answer; an error ends the program.
    Json,
}

/// What does not change in a conversation.
struct Setting<'a> {
    spec: &'a ProgramSpec,
    tokenizer: &'a Tokenizer,
    template: &'a ChatTemplate,
    arguments: &'a ChatArguments,
    sampling: SamplingParams,
    bias: LogitBias,
    look: Look,
    /// What loading the model took.
    load: Duration,
}

/// A conversation.
struct Chat<'a, E> {
    setting: Setting<'a>,
    engine: &'a mut E,
    conversation: Conversation,
    messages: Vec<Message>,
    /// Answers so far, also those that were given up.
    answers: u64,
}

impl<E: Engine> Context<'_, '_, E> {
    /// The command, from its arguments to the end of the conversation.
    pub(super) fn chat(&mut self, arguments: &ChatArguments) -> Result<(), ProgramError> {
        let sampling = arguments.sampling.over(&self.spec.sampling);
        sampling.validate()?;
        let bias = LogitBias::new(arguments.sampling.logit_bias.iter().copied(), self.spec.vocab)?;
        let messages = match (&arguments.load, &arguments.system) {
            (Some(path), _) => saved::load(path)?,
            (None, Some(text)) => vec![Message::new("system", text)],
            (None, None) => Vec::new(),
        };
        let start = Instant::now();
        let tokenizer = self.tokenizer()?;
        let Some(template) = prompt::chat_template(self.spec, &tokenizer)? else {
            let message = "this model has no chat template, so there is no way to talk with it; give it a text to continue";
            return Err(ProgramError::Usage(message.to_owned()));
        };
        let mut engine = self.engine(0, 1)?;
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(ProgramError::Interrupted);
        }
        let is_typed = io::stdin().is_terminal() && io::stdout().is_terminal();
        let has_color = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let look = match self.arguments.model.json {
            true => Look::Json,
            false if is_typed => Look::Terminal { has_color, has_summary: !arguments.quiet },
            false => Look::Plain,
        };
        let setting = Setting {
            spec: self.spec,
            tokenizer: &tokenizer,
            template: &template,
            arguments,
            sampling,
            bias,
            look,
            load: start.elapsed(),
        };
        let (conversation, answers) = (Conversation::default(), 0);
        let mut chat = Chat { setting, engine: &mut engine, conversation, messages, answers };
        if let Look::Terminal { has_color, .. } = look {
            let history = if arguments.no_history { None } else { HistoryFile::of_user() };
            let mut terminal = terminal::Terminal::open(history, has_color)?;
            chat.say(self.streams, &format!("{}; /help lists the commands, Ctrl-D ends", self.spec.name));
            chat.talk(&mut terminal, self.streams, self.interrupted)?;
        } else {
            chat.talk(&mut PlainLines(io::stdin().lock()), self.streams, self.interrupted)?;
        }
        self.tell_profile(&engine);
        Ok(())
    }
}

impl<E: Engine> Chat<'_, E> {
    /// Answers message after message until there is no more.
    fn talk(
        &mut self,
        lines: &mut dyn Lines,
        streams: &mut Streams<'_>,
        interrupted: &AtomicBool,
    ) -> Result<(), ProgramError> {
        let mut was_interrupted = false;
        loop {
            if !self.is_at_terminal() && interrupted.load(Ordering::Relaxed) {
                return Err(ProgramError::Interrupted);
            }
            let line = if self.is_at_terminal() { input::message(lines)? } else { lines.line("")? };
            let text = match line {
                Line::End => return Ok(()),
                Line::Interrupted if was_interrupted => return Ok(()),
                Line::Interrupted => {
                    was_interrupted = true;
                    self.say(streams, "Ctrl-C once more ends the chat");
                    continue;
                }
                Line::Text(text) => text,
            };
            was_interrupted = false;
            if text.trim().is_empty() {
                continue;
            }
            match self.respond(&text, streams, interrupted) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => return Ok(()),
                Err(error) if self.is_at_terminal() && can_go_on(&error) => {
                    self.say(streams, &format!("error: {error}"));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Does what a message or a command asks for; `Break` ends the conversation.
    fn respond(
        &mut self,
        text: &str,
        streams: &mut Streams<'_>,
        interrupted: &AtomicBool,
    ) -> Result<ControlFlow<()>, ProgramError> {
        match command::parse(text)? {
            Typed::Message(text) => {
                let messages = self.messages.iter().cloned().chain([Message::new("user", &text)]);
                self.answer(messages.collect(), streams, interrupted)?;
            }
            Typed::Command(ChatCommand::Help) => self.say(streams, command::HELP.trim_end()),
            Typed::Command(ChatCommand::Exit) => return Ok(ControlFlow::Break(())),
            Typed::Command(ChatCommand::System(text)) => {
                self.messages.retain(|message| message.role != "system");
                if let Some(text) = text {
                    self.messages.insert(0, Message::new("system", &text));
                }
            }
            Typed::Command(ChatCommand::Reset) => self.messages.retain(|message| message.role == "system"),
            Typed::Command(ChatCommand::Save(path)) => {
                saved::save(&path, &self.messages)?;
                self.say(streams, &format!("{} messages saved", self.messages.len()));
            }
            Typed::Command(ChatCommand::Load(path)) => {
                self.messages = saved::load(&path)?;
                self.say(streams, &format!("{} messages loaded", self.messages.len()));
            }
            Typed::Command(ChatCommand::Regenerate) => {
                let Some(last) = self.messages.iter().rposition(|message| message.role == "user") else {
                    return Err(ProgramError::Usage(
                        "there is no message yet that could be answered again".into(),
                    ));
                };
                self.answer(self.messages[..=last].to_vec(), streams, interrupted)?;
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Answers `messages`, which are the conversation from then on, with the answer; if there is none, the conversation stays as it was.
    fn answer(
        &mut self,
        messages: Vec<Message>,
        streams: &mut Streams<'_>,
        interrupted: &AtomicBool,
    ) -> Result<(), ProgramError> {
        let Setting { spec, tokenizer, template, arguments, look, load, .. } = self.setting;
        let prompt = prompt::chat(spec, tokenizer, template, &messages)?;
        let room = self.engine.capacity().positions;
        if prompt.len() > room {
            return Err(ProgramError::ConversationTooLong { tokens: prompt.len(), room });
        }
        let mut sampling = self.setting.sampling;
        // The same seed would give the same answer when it is to be another.
        sampling.seed = sampling.seed.map(|seed| seed.wrapping_add(self.answers));
        self.answers += 1;
        let request = Request {
            held: &[],
            prompt: &prompt,
            max_tokens: arguments.max_tokens.unwrap_or(usize::MAX),
            sampling,
            logit_bias: Some(&self.setting.bias),
            logprobs: None,
            end_ids: if arguments.ignore_eos { &[] } else { spec.end_ids },
        };
        let held_off = self.is_at_terminal().then(HeldOff::new);
        if held_off.is_some() {
            // What was pressed at a prompt is over.
            interrupted.store(false, Ordering::Relaxed);
        }
        let out: Option<&mut dyn Write> = if look == Look::Json { None } else { Some(&mut *streams.out) };
        let mut answer = Answer::new(tokenizer.stream(), &arguments.stop, out);
        let generation =
            self.conversation.answer(self.engine, &request, interrupted, |token| answer.push(token))?;
        let text = answer.finish(generation.finish_reason)?;
        let is_interrupted = generation.finish_reason == FinishReason::Interrupted;
        if !is_interrupted || !text.is_empty() {
            self.messages = messages;
            self.messages.push(Message::new("assistant", &text));
        }
        if look == Look::Json {
            let line = report::json_line(&report::generation_json(&text, &generation, load))?;
            streams.out.write_all(line.as_bytes()).map_err(ProgramError::Output)?;
        }
        streams.out.flush().map_err(ProgramError::Output)?;
        self.tell_end(&generation, prompt.len() + generation.ids.len(), streams);
        match held_off {
            Some(_) => interrupted.store(false, Ordering::Relaxed),
            None if is_interrupted => return Err(ProgramError::Interrupted),
            None => {}
        }
        Ok(())
    }

    /// What there is to know about an answer, behind it. `tokens` is the length of the conversation.
    fn tell_end(&self, generation: &Generation, tokens: usize, streams: &mut Streams<'_>) {
        let (room, stats) = (self.engine.capacity().positions, &generation.stats);
        let why = match generation.finish_reason {
            FinishReason::End | FinishReason::Stop => "",
            FinishReason::Length => "; --max-tokens reached",
            FinishReason::Interrupted => "; stopped",
            FinishReason::Context => {
                "; the context is full: /reset begins anew, and a larger --context holds longer conversations"
            }
        };
        match self.setting.look {
            Look::Terminal { has_summary: true, .. } => {
                let speed = stats.generation_speed();
                let count = stats.generated_tokens;
                let text = format!("[{count} tokens, {speed:.1}/s; {tokens} of {room} positions used{why}]");
                self.say(streams, &text);
            }
            Look::Terminal { .. } | Look::Plain if generation.finish_reason == FinishReason::Context => {
                self.say(streams, why.trim_start_matches("; "));
            }
            _ => {}
        }
    }

    /// A remark for whoever sits there. That nobody reads it is no reason to fail.
    fn say(&self, streams: &mut Streams<'_>, text: &str) {
        let _ = match self.setting.look {
            Look::Terminal { has_color: true, .. } => writeln!(streams.err, "\x1b[2m{text}\x1b[0m"),
            Look::Terminal { .. } | Look::Plain => writeln!(streams.err, "{text}"),
            Look::Json => Ok(()),
        };
    }

    fn is_at_terminal(&self) -> bool {
        matches!(self.setting.look, Look::Terminal { .. })
    }
}

/// Whether another message may fare better.
fn can_go_on(error: &ProgramError) -> bool {
    let is_lost = matches!(error, ProgramError::Generate(GenerateError::Engine(EngineError::DeviceLost(_))));
    !is_lost && !matches!(error, ProgramError::Output(_))
}

#[cfg(test)]
mod tests;
