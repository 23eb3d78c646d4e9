//! Stop strings in streamed text.

/// Passes text on until a stop string appears, which is never passed on, nor any part of it.
#[derive(Debug, Clone)]
pub struct StopFilter {
    stops: Vec<String>,
    held: String,
    /// The stop string that was met, by its place among them.
    met: Option<usize>,
}

impl StopFilter {
    /// A filter for these strings; empty ones are ignored.
    pub fn new(stops: &[String]) -> StopFilter {
        StopFilter {
            stops: stops.iter().filter(|stop| !stop.is_empty()).cloned().collect(),
            held: String::new(),
            met: None,
        }
    }

    /// Adds text; gives the text that is safe to pass on, and whether a stop string was met, after which there is no more.
    pub fn push(&mut self, text: &str) -> (String, bool) {
        self.held.push_str(text);
        // The stop string that is complete first counts, so that it does not matter how the text is cut into pieces.
        let places = self.stops.iter().enumerate();
        let found = places.filter_map(|(index, stop)| {
            self.held.find(stop.as_str()).map(|start| (start + stop.len(), start, index))
        });
        if let Some((_, start, index)) = found.min() {
            self.met = Some(index);
            self.held.truncate(start);
            return (std::mem::take(&mut self.held), true);
        }
        let kept = self.held.split_off(self.held.len() - self.possible_start());
        (std::mem::replace(&mut self.held, kept), false)
    }

    /// The stop string that was met.
    pub fn matched(&self) -> Option<&str> {
        self.met.and_then(|index| self.stops.get(index)).map(String::as_str)
    }

    /// The text held back, once no more can come.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Bytes at the end of the held text that a stop string may start with.
    fn possible_start(&self) -> usize {
        let longest = |stop: &String| {
            let starts = stop.char_indices().map(|(start, _)| start).rev();
            starts.into_iter().find(|&start| self.held.ends_with(&stop[..start])).unwrap_or(0)
        };
        self.stops.iter().map(longest).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::StopFilter;

    /// Pushes pieces; gives the text passed on, and the pieces used up to the stop.
    fn filter(stops: &[&str], pieces: &[String]) -> (String, bool) {
        let stops: Vec<String> = stops.iter().map(|stop| stop.to_string()).collect();
        let mut filter = StopFilter::new(&stops);
        let mut out = String::new();
        for piece in pieces {
            let (text, stopped) = filter.push(piece);
            out += &text;
            if stopped {
                return (out, true);
            }
        }
        (out + &filter.finish(), false)
    }

    #[track_caller]
    fn check(stops: &[&str], text: &str, expected: &str, expected_stop: bool) {
        let whole = [text.to_owned()];
        let characters: Vec<String> = text.chars().map(String::from).collect();
        for pieces in [&whole[..], &characters] {
            assert_eq!(filter(stops, pieces), (expected.to_owned(), expected_stop));
        }
    }

    #[test]
    fn text_before_a_stop_is_passed_on_and_the_stop_is_not() {
        check(&["\n\n"], "a\nb\n\nc", "a\nb", true);
        check(&["é!"], "né é!", "né ", true);
        check(&["abab"], "abaabab", "aba", true);
        check(&["x", "yz"], "ayyz", "ay", true);
    }

    #[test]
    fn what_only_looked_like_a_stop_is_passed_on() {
        check(&["STOP"], "STO", "STO", false);
        check(&["STOP"], "STOSTO!", "STOSTO!", false);
        check(&[], "abc", "abc", false);
        check(&[""], "abc", "abc", false);
    }

    #[test]
    fn the_stop_that_is_complete_first_counts() {
        check(&["abcd", "c"], "abcd", "ab", true);
        check(&["bc", "abc"], "abc", "", true);
    }

    #[test]
    fn a_possible_stop_is_held_back() {
        let mut filter = StopFilter::new(&["<end>".to_owned()]);
        assert_eq!(filter.push("a<en"), ("a".to_owned(), false));
        assert_eq!(filter.push("x<e"), ("<enx".to_owned(), false));
        assert_eq!(filter.matched(), None);
        assert_eq!(filter.push("nd>b"), (String::new(), true));
        assert_eq!(filter.matched(), Some("<end>"));
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            stops in prop::collection::vec("[abé]{1,3}", 0..3),
            pieces in prop::collection::vec("[abcé]{0,4}", 0..8),
        ) {
            let stops: Vec<&str> = stops.iter().map(String::as_str).collect();
            let text = pieces.concat();
            let (out, stopped) = filter(&stops, &pieces);
            prop_assert_eq!(filter(&stops, std::slice::from_ref(&text)), (out.clone(), stopped));
            prop_assert!(text.starts_with(&out));
            prop_assert!(stops.iter().all(|stop| !out.contains(stop)));
            prop_assert_eq!(stopped, stops.iter().any(|stop| text.contains(stop)));
        }
    }
}
