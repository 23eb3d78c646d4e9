//! The loop of a chat, over an engine without a model and lines that nobody types.

use std::collections::VecDeque;
use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::runtime::engine::Capacity;
use crate::runtime::tests::{Automaton, SPEC, expected_continuation, tokenizer};

const TERMINAL: Look = Look::Terminal { has_color: false, has_summary: false };

/// What is typed, and what of it is remembered.
#[derive(Default)]
struct Script {
    lines: VecDeque<Line>,
    remembered: Vec<String>,
}

impl Lines for Script {
    fn line(&mut self, _prompt: &str) -> Result<Line, ProgramError> {
        Ok(self.lines.pop_front().unwrap_or(Line::End))
    }

    fn remember(&mut self, message: &str) {
        self.remembered.push(message.to_owned());
    }
}

/// Takes what is printed; presses Ctrl-C once so many bytes are there.
struct Screen<'a> {
    text: Vec<u8>,
    presses_at: usize,
    interrupted: &'a AtomicBool,
}

impl Write for Screen<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let before = self.text.len();
        self.text.extend_from_slice(bytes);
        if before < self.presses_at && self.text.len() >= self.presses_at {
            self.interrupted.store(true, Ordering::Relaxed);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How a conversation went.
struct Went {
    result: Result<(), ProgramError>,
    out: String,
    err: String,
    messages: Vec<Message>,
    engine: Automaton,
    remembered: Vec<String>,
}

/// A conversation to be had.
struct Talk<'a> {
    look: Look,
    lines: Vec<Line>,
    arguments: ChatArguments,
    sampling: SamplingParams,
    positions: usize,
    presses_at: usize,
    change: &'a dyn Fn(Automaton) -> Automaton,
}

fn talk(look: Look, lines: &[&str]) -> Talk<'static> {
    Talk {
        look,
        lines: lines.iter().map(|line| Line::Text((*line).to_owned())).collect(),
        arguments: ChatArguments { max_tokens: Some(8), ..ChatArguments::default() },
        sampling: SamplingParams::GREEDY,
        positions: 300,
        presses_at: usize::MAX,
        change: &|engine| engine,
    }
}

impl Talk<'_> {
    fn run(self) -> Went {
        let tokenizer = Tokenizer::from_bytes(tokenizer().to_string().as_bytes()).unwrap();
        let template = prompt::chat_template(&SPEC, &tokenizer).unwrap().unwrap();
        let capacity = Capacity { sequences: 1, positions: self.positions, rows: 16 };
        let mut engine = (self.change)(Automaton::new(SPEC.vocab, capacity));
        let setting = Setting {
            spec: &SPEC,
            tokenizer: &tokenizer,
            template: &template,
            arguments: &self.arguments,
            sampling: self.sampling,
            bias: LogitBias::default(),
            look: self.look,
            load: Duration::ZERO,
        };
        let (conversation, messages, answers) = (Conversation::default(), Vec::new(), 0);
        let mut chat = Chat { setting, engine: &mut engine, conversation, messages, answers };
        let mut script = Script { lines: self.lines.into(), remembered: Vec::new() };
        let interrupted = AtomicBool::new(false);
        let mut screen = Screen { text: Vec::new(), presses_at: self.presses_at, interrupted: &interrupted };
        let mut err = Vec::new();
        let mut streams = Streams { out: &mut screen, err: &mut err };
        let result = chat.talk(&mut script, &mut streams, &interrupted);
        let messages = chat.messages;
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let (out, err) = (text(screen.text), text(err));
        Went { result, out, err, messages, engine, remembered: script.remembered }
    }
}

/// The answer that the engine gives to these messages, as text.
fn answer(messages: &[(&str, &str)], tokens: usize) -> String {
    let tokenizer = Tokenizer::from_bytes(tokenizer().to_string().as_bytes()).unwrap();
    let template = prompt::chat_template(&SPEC, &tokenizer).unwrap().unwrap();
    let messages: Vec<Message> = messages.iter().map(|(role, text)| Message::new(role, text)).collect();
    let prompt = prompt::chat(&SPEC, &tokenizer, &template, &messages).unwrap();
    let mut ids = expected_continuation(&prompt, tokens, SPEC.vocab);
    let end = ids.iter().position(|id| SPEC.end_ids.contains(id)).unwrap_or(ids.len());
    ids.truncate(end);
    tokenizer.decode(&ids).unwrap()
}

fn with_line_end(text: &str) -> String {
    if text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") }
}

#[test]
fn each_answer_knows_the_conversation_and_runs_only_what_is_new() {
    let first = answer(&[("user", "Hi")], 8);
    let second = answer(&[("user", "Hi"), ("assistant", &first), ("user", "More\nof it")], 8);
    for change in [&(|engine: Automaton| engine) as &dyn Fn(_) -> _, &Automaton::that_runs_ahead] {
        let mut went = Talk { change, ..talk(TERMINAL, &["", "Hi", "   ", "More\\", "of it"]) }.run();
        went.result.unwrap();
        assert_eq!((went.out, went.err.as_str()), (with_line_end(&first) + &with_line_end(&second), ""));
        assert_eq!(went.remembered, ["Hi", "More\nof it"]);
        let whole: usize =
            "<user\nHi>\n<assistant\n".len() + 8 + ">\n<user\nMore\nof it>\n<assistant\n".len();
        // Of each answer, the last token is not run by itself; that of the first is then part of the second prompt.
        let run: usize = went.engine.steps.drain(..).sum();
        assert!((whole..whole + 9).contains(&run), "{run} rows of {whole}");
    }
}

#[test]
fn what_has_left_a_window_is_run_again() {
    let change = &|engine: Automaton| engine.that_forgets(0);
    let lines = ["Hi", "/system Be kind.", "Again", "/reset", "Hi"];
    let plain = talk(Look::Plain, &lines).run();
    let forgetful = Talk { change, ..talk(Look::Plain, &lines) }.run();
    forgetful.result.unwrap();
    assert_eq!(forgetful.out, plain.out);
    assert!(forgetful.engine.steps.iter().sum::<usize>() > plain.engine.steps.iter().sum());
    assert_eq!(forgetful.engine.open_sequences(), 1);
}

#[test]
fn commands_change_the_conversation() {
    let went =
        talk(Look::Plain, &["/system Be kind.", "Hi", "/reset", "Ho", "/system", "//etc", "/exit", "Hu"])
            .run();
    went.result.unwrap();
    let kind = ("system", "Be kind.");
    let ho = answer(&[kind, ("user", "Ho")], 8);
    let etc = answer(&[("user", "Ho"), ("assistant", &ho), ("user", "/etc")], 8);
    let expected = [answer(&[kind, ("user", "Hi")], 8), ho, etc];
    assert_eq!(went.out, expected.map(|text| with_line_end(&text)).concat());
    assert_eq!(went.messages.len(), 4);
}

#[test]
fn an_answer_can_be_asked_for_again() {
    let sampling = SamplingParams { temperature: 1.0, seed: Some(3), ..SamplingParams::GREEDY };
    let lines = ["/regenerate", "Hi", "/regenerate"];
    let went = Talk { sampling, ..talk(TERMINAL, &lines) }.run();
    went.result.unwrap();
    assert!(went.err.contains("no message yet"), "{}", went.err);
    let answers: Vec<&str> = went.messages.iter().map(|message| message.content.as_str()).collect();
    assert_eq!(answers.len(), 2);
    let first = went.out.strip_suffix(&with_line_end(answers[1])).unwrap();
    assert_ne!(first, with_line_end(answers[1]), "the seed of each answer is another");
    let again = Talk { sampling, ..talk(TERMINAL, &lines) }.run();
    assert_eq!(again.out, went.out);
}

#[test]
fn a_conversation_is_saved_and_goes_on_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let save = format!("/save {}", path("talk.json"));
    let went = talk(TERMINAL, &["Hi", &save]).run();
    let load = format!("/load {}", path("talk.json"));
    let on = talk(TERMINAL, &[&load, "More", "/load none.json"]).run();
    let both = talk(TERMINAL, &["Hi", "More"]).run();
    assert_eq!(went.out + &on.out, both.out);
    assert_eq!(on.messages, both.messages);
    assert!(
        on.err.contains("2 messages loaded") && on.err.contains("error: cannot read none.json"),
        "{}",
        on.err
    );
    let file: Value = serde_json::from_slice(&std::fs::read(Path::new(&path("talk.json"))).unwrap()).unwrap();
    assert_eq!(file[0], json!({"role": "user", "content": "Hi"}));
}

#[test]
fn ctrl_c_stops_the_answer_and_the_conversation_goes_on() {
    let whole = answer(&[("user", "Hi")], 60);
    let arguments = ChatArguments { max_tokens: Some(60), ..ChatArguments::default() };
    let went = Talk { presses_at: 5, arguments: arguments.clone(), ..talk(TERMINAL, &["Hi", "More"]) }.run();
    went.result.unwrap();
    assert_eq!(went.messages.len(), 4);
    let stopped = &went.messages[1].content;
    assert!(whole.starts_with(stopped.as_str()) && (5..whole.len()).contains(&stopped.len()), "{stopped:?}");
    // A script is not asked again.
    let went = Talk { presses_at: 5, arguments, ..talk(Look::Plain, &["Hi", "More"]) }.run();
    assert!(matches!(went.result, Err(ProgramError::Interrupted)) && went.messages.len() == 2);
}

#[test]
fn ctrl_c_ends_the_program_only_twice_in_a_row_at_the_prompt() {
    let text = |text: &str| Line::Text(text.to_owned());
    let press = || Line::Interrupted;
    let end = [press(), text("Hi"), press(), press(), text("unread")];
    let went = Talk { lines: end.into(), ..talk(TERMINAL, &[]) }.run();
    went.result.unwrap();
    assert_eq!(went.messages.len(), 2);
    assert_eq!(went.err.matches("once more").count(), 2);
    // A message that was begun is dropped.
    let dropped = [text("\"\"\"secret"), press(), text("Hi")];
    let went = Talk { lines: dropped.into(), ..talk(TERMINAL, &[]) }.run();
    assert_eq!(went.messages[0].content, "Hi");
}

#[test]
fn what_does_not_fit_is_told_and_taken_back() {
    let long = "x".repeat(80);
    let tight = |look: Look, lines: &[&str]| Talk { positions: 60, ..talk(look, lines) }.run();
    let went = tight(TERMINAL, &["Hi", &long, "/reset", "Ho", "/nonsense"]);
    went.result.unwrap();
    assert!(went.err.contains("the context holds 60") && went.err.contains("/reset"), "{}", went.err);
    assert!(went.err.contains("there is no command /nonsense"), "{}", went.err);
    assert_eq!(went.messages[0].content, "Ho");
    let went = tight(Look::Plain, &["Hi", &long, "Ho"]);
    assert!(matches!(went.result, Err(ProgramError::ConversationTooLong { room: 60, .. })));
    let went = tight(Look::Plain, &["/nonsense", "Ho"]);
    assert_eq!(went.result.map_err(|error| error.exit_code()), Err(2));
    // An answer that fills the context says what to do.
    let arguments = ChatArguments { ignore_eos: true, ..ChatArguments::default() };
    let went = Talk { positions: 60, arguments, ..talk(TERMINAL, &["Hi"]) }.run();
    assert!(went.err.contains("the context is full: /reset"), "{}", went.err);
}

#[test]
fn scripts_get_json() {
    let went = talk(Look::Json, &["Hi", "More"]).run();
    went.result.unwrap();
    let lines: Vec<Value> = went.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let first = answer(&[("user", "Hi")], 8);
    assert_eq!((lines.len(), &lines[0]["text"], went.err.as_str()), (2, &json!(first), ""));
    assert!(lines[1]["stats"]["prompt_tokens"].as_u64().unwrap() < 40, "{}", lines[1]);
}

#[test]
fn a_lost_device_ends_the_conversation() {
    let change =
        &|engine: Automaton| engine.that_fails_at(u32::from(b'!'), EngineError::DeviceLost("gone".into()));
    let went = Talk { change, ..talk(TERMINAL, &["Hi!", "Ho"]) }.run();
    assert!(went.result.unwrap_err().to_string().contains("gone"));
    let change = &|engine: Automaton| engine.that_fails_at(u32::from(b'!'), EngineError::NoFreePage);
    let went = Talk { change, ..talk(TERMINAL, &["Ho", "Hi!", "Ho"]) }.run();
    went.result.unwrap();
    assert!(went.err.contains("error: no memory is left") && went.messages.len() == 4, "{}", went.err);
}
