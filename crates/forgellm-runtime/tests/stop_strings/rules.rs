//! What must hold for stop strings in streamed text; the fuzz target `stop` shares it.

use forgellm_runtime::runtime::stop::StopFilter;

/// What is to be passed on, and whether a stop string ends it: the text before the stop string that is complete first; of those that
/// end at the same place, the longest.
pub fn expected<'t>(stops: &[String], text: &'t str) -> (&'t str, bool) {
    let ends = text.char_indices().map(|(start, character)| start + character.len_utf8());
    for end in ends {
        let ending = stops.iter().filter(|stop| !stop.is_empty() && text[..end].ends_with(stop.as_str()));
        if let Some(longest) = ending.map(String::len).max() {
            return (&text[..end - longest], true);
        }
    }
    (text, false)
}

/// Pushes the pieces and compares with [`expected`]; nothing may be passed on too early or kept for longer than needed.
pub fn check(stops: &[String], pieces: &[String]) {
    let text = pieces.concat();
    let (whole, stops_at_all) = expected(stops, &text);
    let mut filter = StopFilter::new(stops);
    let (mut seen, mut passed_on) = (String::new(), String::new());
    for piece in pieces {
        seen += piece;
        let (more, is_stopped) = filter.push(piece);
        passed_on += &more;
        assert_eq!(is_stopped, expected(stops, &seen).1, "{stops:?} in {seen:?}");
        if is_stopped {
            assert_eq!(passed_on, whole, "{stops:?} in {text:?}");
            return;
        }
        assert_eq!(passed_on, seen[..seen.len() - possible_start(stops, &seen)], "{stops:?} in {seen:?}");
    }
    passed_on += &filter.finish();
    assert_eq!((passed_on.as_str(), false), (whole, stops_at_all), "{stops:?} in {text:?}");
}

/// Bytes at the end of the text with which a stop string may begin.
fn possible_start(stops: &[String], text: &str) -> usize {
    let starts = text.char_indices().map(|(start, _)| &text[start..]);
    starts.filter(|end| stops.iter().any(|stop| stop.starts_with(end))).map(str::len).max().unwrap_or(0)
}
