//! Numbers: a floating-point literal without a suffix is a float in Metal (C++ would make it a double), and `h` and `bf`
//! are suffixes there.

use super::Translator;
use super::lexer::Kind;

impl Translator<'_> {
    /// Rewrites every literal that C++ would read differently.
    pub(super) fn literals(&mut self) {
        for (i, token) in self.tokens.all.iter().enumerate() {
            if token.kind == Kind::Number
                && let Some(text) = rewritten(token.text)
            {
                self.edits.replace(i, text);
            }
        }
    }
}

/// The C++ spelling of a number, if it differs.
fn rewritten(number: &str) -> Option<String> {
    let lower = number.to_ascii_lowercase();
    let hexadecimal = lower.starts_with("0x");
    let floating = if hexadecimal { lower.contains('p') } else { lower.contains(['.', 'e']) };
    if hexadecimal && !floating {
        return None;
    }
    let as_float = |digits: &str| {
        let digits = &number[..digits.len()];
        if floating { format!("{digits}f") } else { format!("{digits}.0f") }
    };
    if let Some(digits) = lower.strip_suffix("bf") {
        Some(format!("((bfloat){})", as_float(digits)))
    } else if let Some(digits) = lower.strip_suffix('h') {
        Some(format!("((half){})", as_float(digits)))
    } else if floating && !lower.ends_with(['f', 'l']) {
        Some(format!("{number}f"))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::rewritten;

    #[test]
    fn only_floating_point_literals_change() {
        let check = |number: &str, expected: Option<&str>| assert_eq!(rewritten(number).as_deref(), expected);
        check("1.0", Some("1.0f"));
        check("1e-5", Some("1e-5f"));
        check("0x1p-3", Some("0x1p-3f"));
        check("1.5h", Some("((half)1.5f)"));
        check("2h", Some("((half)2.0f)"));
        check("1.5bf", Some("((bfloat)1.5f)"));
        check("1.0f", None);
        check("0x1f", None);
        check("0xbf", None);
        check("17", None);
        check("3u", None);
        check("0x8p0f", None);
    }
}
