//! Finds the added tokens of a text.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use tokenizers::AddedToken;

/// The added tokens of a tokenizer: control tokens (`special`) and user-defined ones.
#[derive(Debug)]
pub(super) struct AddedTokens {
    by_id: BTreeMap<u32, AddedToken>,
    /// By length of the text in bytes, longest first.
    by_length: Vec<SameLength>,
}

/// Added tokens whose texts have one length.
#[derive(Debug)]
struct SameLength {
    length: usize,
    ids: HashMap<String, u32>,
    first_bytes: [bool; 256],
}

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fragment<'a> {
    /// An added token.
    Token(u32),
    /// Text between added tokens, never empty.
    Text(&'a str),
}

impl AddedTokens {
    pub(super) fn new(tokens: impl IntoIterator<Item = (u32, AddedToken)>) -> AddedTokens {
        let by_id: BTreeMap<u32, AddedToken> = tokens.into_iter().collect();
        let mut by_length: BTreeMap<usize, SameLength> = BTreeMap::new();
        for (&id, token) in &by_id {
            let Some(&first) = token.content.as_bytes().first() else { continue };
            let length = token.content.len();
            let same = by_length.entry(length).or_insert_with(|| SameLength {
                length,
                ids: HashMap::new(),
                first_bytes: [false; 256],
            });
            same.ids.insert(token.content.clone(), id);
            same.first_bytes[usize::from(first)] = true;
        }
        AddedTokens { by_id, by_length: by_length.into_values().rev().collect() }
    }

    pub(super) fn get(&self, id: u32) -> Option<&AddedToken> {
        self.by_id.get(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &AddedToken> {
        self.by_id.values()
    }

    /// Cuts `text` into added tokens and what is between them. Longer tokens are found first, everywhere; among tokens of one
    /// length, the leftmost (llama.cpp's `tokenizer_st_partition`). Control tokens that overlap one of the `plain` ranges
    /// (ascending, disjoint) are not found.
    pub(super) fn partition<'a>(&self, text: &'a str, plain: &[Range<usize>]) -> Vec<Fragment<'a>> {
        let mut fragments = vec![Found::Text(0..text.len())];
        for same in &self.by_length {
            let mut next = Vec::with_capacity(fragments.len());
            for fragment in fragments {
                match fragment {
                    Found::Text(range) => self.cut(text, range, same, plain, &mut next),
                    token => next.push(token),
                }
            }
            fragments = next;
        }
        let fragments = fragments.into_iter().map(|fragment| match fragment {
            Found::Token(id) => Fragment::Token(id),
            Found::Text(range) => Fragment::Text(&text[range]),
        });
        fragments.filter(|fragment| *fragment != Fragment::Text("")).collect()
    }

    /// Cuts one stretch of text at the tokens of one length.
    fn cut(
        &self,
        text: &str,
        range: Range<usize>,
        same: &SameLength,
        plain: &[Range<usize>],
        fragments: &mut Vec<Found>,
    ) {
        let Range { mut start, end } = range;
        let mut at = start;
        while at + same.length <= end {
            let found = same.first_bytes[usize::from(text.as_bytes()[at])]
                .then(|| text.get(at..at + same.length).and_then(|candidate| same.ids.get(candidate)))
                .flatten()
                .and_then(|&id| Some((id, self.by_id.get(&id)?)))
                .filter(|(_, token)| !token.special || !overlaps(plain, at, at + same.length));
            let Some((id, token)) = found else {
                at += 1;
                continue;
            };
            let is_space = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
            let spaces =
                |bytes: &mut dyn Iterator<Item = &u8>| bytes.take_while(|byte| is_space(byte)).count();
            let mut before = start..at;
            at += same.length;
            if token.lstrip {
                before.end -= spaces(&mut text.as_bytes()[before.clone()].iter().rev());
            }
            if token.rstrip {
                at += spaces(&mut text.as_bytes()[at..end].iter());
            }
            fragments.extend([Found::Text(before), Found::Token(id)]);
            start = at;
        }
        fragments.push(Found::Text(start..end));
    }
}

/// A fragment while cutting goes on; text may be empty.
enum Found {
    Token(u32),
    Text(Range<usize>),
}

fn overlaps(ranges: &[Range<usize>], start: usize, end: usize) -> bool {
    let next = ranges.partition_point(|range| range.end <= start);
    ranges.get(next).is_some_and(|range| range.start < end)
}
