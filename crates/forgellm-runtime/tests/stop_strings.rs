//! Stop strings against a naive reference, however the text is cut into pieces.

#[path = "stop_strings/rules.rs"]
mod rules;

use proptest::prelude::*;

#[test]
fn the_reference_says_what_is_meant() {
    let stops = |stops: &[&str]| stops.iter().map(|stop| stop.to_string()).collect::<Vec<_>>();
    assert_eq!(rules::expected(&stops(&["b", ""]), "abc"), ("a", true));
    assert_eq!(rules::expected(&stops(&["abcd", "c"]), "abcd"), ("ab", true));
    assert_eq!(rules::expected(&stops(&["bc", "abc"]), "abc"), ("", true));
    assert_eq!(rules::expected(&stops(&["x"]), "abc"), ("abc", false));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn exactly_the_text_before_the_first_stop_is_passed_on(
        stops in prop::collection::vec("[abé]{0,5}", 0..4),
        pieces in prop::collection::vec("[abcé]{0,5}", 0..10),
    ) {
        rules::check(&stops, &pieces);
    }

    #[test]
    fn stops_that_repeat_are_found(
        (unit, times, end) in ("[ab]{1,3}", 1..4usize, "[ab]{0,2}"),
        pieces in prop::collection::vec("[ab]{0,3}", 0..16),
    ) {
        rules::check(&[unit.repeat(times) + &end], &pieces);
    }
}
