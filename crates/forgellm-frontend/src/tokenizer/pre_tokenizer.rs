//! How text is split before byte-pair merges, by the name in `tokenizer.ggml.pre`.
//!
//! Source: the `pre_tokenizer` sections of the models' own `tokenizer.json` files and llama.cpp's table of names. Patterns are
//! for a backtracking engine with look-ahead (Oniguruma, fancy-regex).

use super::TokenizerError;

/// A way of splitting text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreTokenizer {
    /// The names in `tokenizer.ggml.pre` that mean it.
    pub names: &'static [&'static str],
    /// Patterns, applied one after the other: each cuts every piece so far into its matches and what is between them.
    pub splits: &'static [&'static str],
    /// Whether a piece that is a token as a whole stays whole even where no merges lead to it.
    pub ignores_merges: bool,
    /// Whether prompts start with the beginning-of-text token where the file does not say.
    pub adds_bos: bool,
}

/// The pre-tokenizer called `name`.
pub(super) fn find(name: &str) -> Result<&'static PreTokenizer, TokenizerError> {
    PRE_TOKENIZERS.iter().find(|entry| entry.names.contains(&name)).ok_or_else(|| {
        let mut known: Vec<&str> = PRE_TOKENIZERS.iter().flat_map(|entry| entry.names).copied().collect();
        known.sort_unstable();
        TokenizerError::UnknownPreTokenizer { name: name.to_owned(), known: known.join(", ") }
    })
}

macro_rules! contractions {
    () => {
        r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
    };
}
/// The end of most patterns: line ends with the white space before them, white space but its last, other white space.
macro_rules! spaces {
    () => {
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    };
}
/// The family of GPT-4's pattern: words with one leading sign, numbers of `$digits`, signs with the line ends after them.
macro_rules! cl100k {
    ($digits:literal) => {
        concat!(
            contractions!(),
            r"|[^\r\n\p{L}\p{N}]?\p{L}+|",
            $digits,
            r"| ?[^\s\p{L}\p{N}]+[\r\n]*",
            spaces!()
        )
    };
}
/// The family of GPT-4o's pattern: words break where lower case turns to upper case.
macro_rules! o200k {
    ($ending:expr, $digits:literal) => {
        concat!(
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
            $ending,
            r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
            $ending,
            "|",
            $digits,
            r"| ?[^\s\p{L}\p{N}]+[\r\n/]*",
            spaces!()
        )
    };
}
/// DeepSeek-V3's main pattern: an ASCII sign sticks to the letters after it.
macro_rules! deepseek3 {
    ($signs_end:literal) => {
        concat!(
            r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"##,
            r"| ?[\p{P}\p{S}]+",
            $signs_end,
            r"\s+(?!\S)|\s+"
        )
    };
}

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const QWEN2: &str = cl100k!(r"\p{N}");
const LLAMA3: &str = cl100k!(r"\p{N}{1,3}");
const CJK: &str = "[一-龥ࠀ-一가-퟿]+";
const HAN_KANA: &str = "[一-龥぀-ゟ゠-ヿ]+";
const BLOOM_WORDS: &str = r" ?[^(\s|.,!?…。，、।۔،)]+";

const fn plain(names: &'static [&'static str], splits: &'static [&'static str]) -> PreTokenizer {
    PreTokenizer { names, splits, ignores_merges: false, adds_bos: false }
}

static PRE_TOKENIZERS: &[PreTokenizer] = &[
    plain(
        &[
            "gpt-2",
            "phi-2",
            "mpt",
            "olmo",
            "jais",
            "trillion",
            "granite-docling",
            "exaone4",
            "gigachat",
            "a.x-4.0",
            "mellum",
        ],
        &[GPT2],
    ),
    plain(
        &["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"],
        &[r"\p{N}", GPT2],
    ),
    plain(
        &["qwen2", "deepseek-r1-qwen", "kormo", "stablelm2", "hunyuan", "solar-open", "megrez", "grok-2"],
        &[QWEN2],
    ),
    plain(
        &["qwen35"],
        &[concat!(
            contractions!(),
            r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*",
            spaces!()
        )],
    ),
    PreTokenizer {
        names: &["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"],
        splits: &[LLAMA3],
        ignores_merges: true,
        adds_bos: true,
    },
    plain(&["dbrx", "smaug-bpe", "chatglm-bpe"], &[LLAMA3]),
    PreTokenizer { names: &["glm4"], splits: &[LLAMA3], ignores_merges: true, adds_bos: false },
    PreTokenizer {
        names: &["tekken"],
        splits: &[o200k!("", r"\p{N}")],
        ignores_merges: true,
        adds_bos: true,
    },
    plain(
        &["gpt-4o", "llama4", "kanana2", "minimax-m2"],
        &[o200k!(concat!(contractions!(), "?"), r"\p{N}{1,3}")],
    ),
    plain(&["deepseek-coder"], &[r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", CJK, r"\p{N}"]),
    plain(
        &["deepseek-v3", "hunyuan-dense", "joyai-llm"],
        &[r"\p{N}{1,3}", HAN_KANA, deepseek3!(r"[\r\n]*|\s*[\r\n]+|")],
    ),
    plain(
        &["bailingmoe", "bailingmoe2", "llada-moe"],
        &[concat!(
            r"'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
            r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
        )],
    ),
    plain(
        &["seed-coder"],
        &[concat!(contractions!(), r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+", spaces!())],
    ),
    plain(&["falcon"], &[r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"]),
    plain(&["poro-chat", "bloom", "gpt3-finnish"], &[BLOOM_WORDS]),
    plain(&["viking"], &[BLOOM_WORDS, r"\p{N}"]),
    plain(&["default"], &[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<&str> = PRE_TOKENIZERS.iter().flat_map(|entry| entry.names).copied().collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_known_ones() {
        let error = find("llama-bpe2").unwrap_err().to_string();
        assert!(
            error.contains("`llama-bpe2`") && error.contains("llama-bpe, ") && error.contains("smollm"),
            "{error}"
        );
    }
}
