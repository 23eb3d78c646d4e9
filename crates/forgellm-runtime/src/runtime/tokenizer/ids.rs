//! Token ids as people and other programs write them.

/// Something else among token ids.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a token id")]
pub struct NotAnId(pub String);

/// Ids separated by white space or commas, in brackets or not.
pub fn parse_ids(text: &str) -> Result<Vec<u32>, NotAnId> {
    let separators = |character: char| character.is_whitespace() || ",[]".contains(character);
    let words = text.split(separators).filter(|word| !word.is_empty());
    words.map(|word| word.parse().map_err(|_| NotAnId(word.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_commas_and_line_ends_separate() {
        assert_eq!(parse_ids("[1, 22,3]\n4 5\n"), Ok(vec![1, 22, 3, 4, 5]));
        assert_eq!(parse_ids(" \n"), Ok(vec![]));
        for (text, word) in [("1 two", "two"), ("1,-2", "-2"), ("4294967296", "4294967296"), ("1.5", "1.5")] {
            assert_eq!(parse_ids(text), Err(NotAnId(word.to_owned())));
        }
    }
}
