//! Conversations as files: a JSON list of `{"role", "content"}`, as requests of a server have it.

use std::path::Path;

use serde_json::Value;

use crate::runtime::chat_template::Message;
use crate::runtime::program::{ProgramError, files};

/// Writes the messages; a file of that name is replaced as a whole.
pub(super) fn save(path: &Path, messages: &[Message]) -> Result<(), ProgramError> {
    let mut text = serde_json::to_string_pretty(messages)?;
    text.push('\n');
    files::write_whole(path, text.as_bytes())
}

/// Reads what [`save`] wrote, or the body of a request: an object with a list `messages`.
pub(super) fn load(path: &Path) -> Result<Vec<Message>, ProgramError> {
    let text = files::read(path)?;
    let wrong = |reason: String| ProgramError::Conversation { path: path.to_owned(), reason };
    let mut value: Value = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    if let Some(list) = value.get_mut("messages") {
        value = list.take();
    }
    let messages: Vec<Message> = serde_json::from_value(value).map_err(|error| wrong(error.to_string()))?;
    for (index, message) in messages.iter().enumerate() {
        let role = message.role.as_str();
        let is_known = matches!((role, index), ("system", 0) | ("user" | "assistant", _));
        if !is_known {
            let reason = format!(
                "message {index} has the role `{role}`; only `user`, `assistant` and, of the first message, `system` can be"
            );
            return Err(wrong(reason));
        }
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_comes_back_and_anything_else_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("talk.json");
        let messages = [("system", "Be\nkind."), ("user", "\"Größe\" 😀"), ("assistant", "")];
        let messages: Vec<Message> = messages.iter().map(|(role, text)| Message::new(role, text)).collect();
        std::fs::write(&path, "an earlier one").unwrap();
        save(&path, &messages).unwrap();
        assert_eq!(load(&path).unwrap(), messages);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
        std::fs::write(&path, r#"{"model": "m", "messages": [{"role": "user", "content": "Hi"}]}"#).unwrap();
        assert_eq!(load(&path).unwrap(), [Message::new("user", "Hi")]);
        for (text, part) in [
            ("", "EOF"),
            ("{}", "sequence"),
            (r#"[{"role": "user"}]"#, "content"),
            (r#"[{"role": "user", "content": [1]}]"#, "string"),
            (r#"[{"role": "tool", "content": ""}]"#, "message 0 has the role `tool`"),
            (r#"[{"role": "user", "content": ""}, {"role": "system", "content": ""}]"#, "message 1"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = load(&path).unwrap_err().to_string();
            assert!(error.contains("talk.json") && error.contains(part), "{text}: {error}");
        }
        assert!(save(&folder.path().join("none/talk.json"), &messages).is_err());
    }
}
