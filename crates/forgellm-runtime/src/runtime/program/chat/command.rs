//! What can be typed instead of a message.

use std::path::PathBuf;

/// What `/help` prints.
pub(super) const HELP: &str = "\
/system TEXT    set the system message; without TEXT, remove it
/reset          forget the conversation, but for the system message
/regenerate     answer the last message again
/save FILE      write the conversation to a file, as JSON
/load FILE      go on with a conversation that was saved
/exit           end (also Ctrl-D)

\\ at the end of a line goes on in the next one; so do lines between \"\"\" and \"\"\".
A message that begins with a slash is typed with two: //etc is a folder.
Ctrl-C stops an answer.
";

/// A line that begins with a slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ChatCommand {
    Help,
    System(Option<String>),
    Reset,
    Regenerate,
    Save(PathBuf),
    Load(PathBuf),
    Exit,
}

/// What was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Typed {
    Message(String),
    Command(ChatCommand),
}

/// Why a line is no command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoCommand {
    /// There is none of that name.
    #[error("there is no command {0}; see /help, or type two slashes for a message that begins with one")]
    Unknown(String),
    /// It needs something behind it.
    #[error("{0} needs the name of a file, such as {0} talk.json")]
    NoFile(String),
    /// It takes nothing.
    #[error("{0} takes nothing behind it")]
    TooMuch(String),
}

/// Tells commands from messages.
pub(super) fn parse(text: &str) -> Result<Typed, NoCommand> {
    let Some(command) = text.strip_prefix('/') else { return Ok(Typed::Message(text.to_owned())) };
    if command.starts_with('/') {
        return Ok(Typed::Message(command.to_owned()));
    }
    let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim();
    let file = || match rest {
        "" => Err(NoCommand::NoFile(name.to_owned())),
        file => Ok(PathBuf::from(file)),
    };
    let alone =
        |command| if rest.is_empty() { Ok(command) } else { Err(NoCommand::TooMuch(name.to_owned())) };
    Ok(Typed::Command(match name {
        "/help" | "/?" => alone(ChatCommand::Help)?,
        "/system" => ChatCommand::System((!rest.is_empty()).then(|| rest.to_owned())),
        "/reset" => alone(ChatCommand::Reset)?,
        "/regenerate" => alone(ChatCommand::Regenerate)?,
        "/save" => ChatCommand::Save(file()?),
        "/load" => ChatCommand::Load(file()?),
        "/exit" | "/quit" => alone(ChatCommand::Exit)?,
        _ => return Err(NoCommand::Unknown(name.to_owned())),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_begin_with_one_slash() {
        let command = |text: &str| match parse(text) {
            Ok(Typed::Command(command)) => command,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(command("/reset"), ChatCommand::Reset);
        assert_eq!(command("/system"), ChatCommand::System(None));
        assert_eq!(command("/system \n Be kind. "), ChatCommand::System(Some("Be kind.".to_owned())));
        assert_eq!(command("/save my talk.json"), ChatCommand::Save("my talk.json".into()));
        for (text, message) in [("hi", "hi"), (" /reset", " /reset"), ("//etc", "/etc"), ("", "")] {
            assert_eq!(parse(text), Ok(Typed::Message(message.to_owned())));
        }
        assert_eq!(parse("/resett"), Err(NoCommand::Unknown("/resett".to_owned())));
        assert_eq!(parse("/"), Err(NoCommand::Unknown("/".to_owned())));
        assert_eq!(parse("/save "), Err(NoCommand::NoFile("/save".to_owned())));
        assert_eq!(parse("/exit now"), Err(NoCommand::TooMuch("/exit".to_owned())));
    }
}
