//! Spellings that C++ reads differently wherever they stand: a floating-point literal without a suffix is a float in
//! Metal (C++ would make it a double), and `h` and `bf` are suffixes there; attributes of the language; casts between
//! half and bfloat, which clang does not have.

use super::declarations::matching_angle;
use super::lexer::{Kind, Token};
use super::{Purpose, Translator, attributes, rules};

impl Translator<'_> {
    /// Rewrites what needs no look at declarations.
    pub(super) fn spellings(&mut self) {
        let tokens = &self.tokens.all;
        for (i, token) in tokens.iter().enumerate() {
            if token.kind == Kind::Number
                && let Some(text) = rewritten(token.text)
            {
                self.edits.replace(i, text);
            } else if token.kind == Kind::Pragma && unroll_by_expression(token.text) {
                self.edits.replace(i, "#pragma unroll");
            } else if attributes::starts(tokens, i)
                && let Some((list, after)) = attributes::list(tokens, i)
                && list.iter().any(|a| rules::is_metal(&a.name))
            {
                self.edits.remove(i, after);
            } else if is_value_cast(tokens, i) {
                self.edits.replace(i, "metal::ms_cast");
            } else if matches!(token.text, "half" | "bfloat") && is_call(tokens, i) {
                self.edits.replace(i, format!("metal::ms_cast<{}>", token.text));
            } else if self.purpose == Purpose::CheckSpaces
                && rules::is_vector(token.text)
                && is_call(tokens, i)
            {
                self.edits.replace(i, format!("metal::ms_make<{}>", token.text));
            }
        }
    }
}

/// `#pragma unroll (N * 2)`: clang expands macros there only in its own pass over the text, which is over. How often a
/// loop is unrolled changes no result.
fn unroll_by_expression(pragma: &str) -> bool {
    let words = pragma.trim_start_matches(['#', ' ']).trim_start_matches("pragma").trim();
    words.starts_with("unroll") && words["unroll".len()..].contains(char::is_alphabetic)
}

/// `static_cast<T>` with a `T` that is neither a pointer nor a reference.
fn is_value_cast(tokens: &[Token<'_>], i: usize) -> bool {
    tokens[i].is("static_cast")
        && tokens.get(i + 1).is_some_and(|t| t.is("<"))
        && matching_angle(tokens, i + 1).is_some_and(|close| {
            !tokens[i..close].iter().any(|t| matches!(t.text, "*" | "&" | "&&" | "void"))
        })
}

/// Whether the type's name at `i` is called, as in `half(x)`, rather than the start of a declarator.
fn is_call(tokens: &[Token<'_>], i: usize) -> bool {
    if i == 0 || !tokens.get(i + 1).is_some_and(|t| t.is("(")) {
        return false;
    }
    let previous = &tokens[i - 1];
    let begins_statement = matches!(previous.text, ";" | "{" | "}");
    let in_expression =
        previous.kind == Kind::Punctuation || matches!(previous.text, "return" | "else" | "case");
    let declarator = tokens.get(i + 2).is_some_and(|t| t.is("&") || (t.is("*") && begins_statement));
    in_expression && !declarator
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
