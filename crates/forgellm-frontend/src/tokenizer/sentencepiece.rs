//! The merges behind a SentencePiece vocabulary with scores.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

use super::{Token, TokenKind};

/// The merges, most urgent first, as `(left, right)`, with which ranked byte-pair encoding gives what SentencePiece's
/// algorithm gives: of all adjacent pairs whose union is a token, the one with the highest score merges, the leftmost of equals.
///
/// At most one merge per token. What happens between two characters before a merge spans them does not depend on what
/// surrounds them, so whenever a token is formed, its last merge is the one that forms it from its own text alone. A token
/// that its own text does not lead to is never formed.
///
/// Equal scores are ranked by length, longest first. That is "leftmost first" for runs of one character, the only case
/// in which files have equal scores.
///
/// A token whose last merge joins a character that is no token itself is left out, since a ranked merge is of two tokens. In files
/// these are user-defined tokens with a space, which are found before any merge.
///
/// Only [`TokenKind::Control`], [`TokenKind::Unknown`] and [`TokenKind::Byte`] are not formed: text must not lead to them.
pub(super) fn merges<'a>(tokens: &'a [Token], scores: &[f32]) -> Vec<(&'a str, &'a str)> {
    let scored: HashMap<&str, f32> = tokens
        .iter()
        .zip(scores)
        .filter(|(token, _)| !token.kind.is_special() && token.kind != TokenKind::Byte)
        // Adding zero makes the two zeros one.
        .map(|(token, &score)| (token.text.as_str(), score + 0.0))
        .collect();
    let mut ranked: Vec<(f32, &str, usize)> = tokens
        .iter()
        .filter_map(|token| {
            let text = token.text.as_str();
            let score = *scored.get(text)?;
            let at = last_merge(text, &scored)?;
            (scored.contains_key(&text[..at]) && scored.contains_key(&text[at..]))
                .then_some((score, text, at))
        })
        .collect();
    ranked.sort_by(|(score, text, _), (other_score, other_text, _)| {
        other_score.total_cmp(score).then(other_text.len().cmp(&text.len()))
    });
    ranked.into_iter().map(|(_, text, at)| text.split_at(at)).collect()
}

/// Where the merge that makes `text` one symbol joins it; `None` where `text` ends as several symbols or is one character.
fn last_merge(text: &str, scored: &HashMap<&str, f32>) -> Option<usize> {
    // Symbol i begins at character i; a symbol that went into its left neighbour has length 0.
    let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let count = starts.len() - 1;
    let mut length = vec![1; count];
    let mut previous: Vec<Option<usize>> = (0..count).map(|index| index.checked_sub(1)).collect();
    let mut queue = BinaryHeap::new();
    let candidate = |left: usize, right: usize, end: usize| {
        let score = *scored.get(&text[starts[left]..starts[end]])?;
        Some(Candidate { score, left, right, end })
    };
    queue.extend((1..count).filter_map(|right| candidate(right - 1, right, right + 1)));
    let mut joined = None;
    while let Some(Candidate { left, right, end, .. }) = queue.pop() {
        let current = length[left] != 0 && length[right] != 0;
        if !current || left + length[left] != right || right + length[right] != end {
            continue;
        }
        length[left] += length[right];
        length[right] = 0;
        joined = Some((left, right));
        if end < count {
            previous[end] = Some(left);
            queue.extend(candidate(left, end, end + length[end]));
        }
        if let Some(before) = previous[left] {
            queue.extend(candidate(before, left, end));
        }
    }
    let (left, right) = joined?;
    (left == 0 && length[0] == count).then(|| starts[right])
}

/// A pair of adjacent symbols, by their first characters, and the end of the right one.
struct Candidate {
    score: f32,
    left: usize,
    right: usize,
    end: usize,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(other.left.cmp(&self.left)).then(self.end.cmp(&other.end))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate {}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(vocabulary: &[(&str, f32)], expected: &[(&str, &str)]) {
        let token =
            |text: &str| Token { text: text.to_owned(), kind: TokenKind::Normal, strips_right: false };
        let tokens: Vec<Token> = vocabulary.iter().map(|(text, _)| token(text)).collect();
        let scores: Vec<f32> = vocabulary.iter().map(|(_, score)| *score).collect();
        assert_eq!(merges(&tokens, &scores), expected);
    }

    #[test]
    fn the_higher_score_decides_the_split() {
        check(
            &[("a", -9.0), ("b", -9.0), ("c", -9.0), ("ab", -2.0), ("bc", -1.0), ("abc", -3.0)],
            &[("b", "c"), ("a", "b"), ("a", "bc")],
        );
    }

    #[test]
    fn a_token_that_its_text_does_not_lead_to_has_no_merge() {
        // "bc" merges first, and "abcd" then needs "a" + "bcd", which is no token.
        check(
            &[
                ("a", 0.0),
                ("b", 0.0),
                ("c", 0.0),
                ("d", 0.0),
                ("ab", -2.0),
                ("bc", -1.0),
                ("cd", -2.0),
                ("abcd", -3.0),
            ],
            &[("b", "c"), ("a", "b"), ("c", "d")],
        );
    }

    #[test]
    fn a_merge_is_of_two_tokens() {
        check(&[("▁", 0.0), ("▁▁", -1.0), ("  ", -1.0)], &[("▁", "▁")]);
    }

    #[test]
    fn a_run_grows_from_the_left() {
        check(
            &[("a", 0.0), ("aa", -5.0), ("aaa", -5.0), ("aaaa", -5.0)],
            &[("aaa", "a"), ("aa", "a"), ("a", "a")],
        );
    }
}
