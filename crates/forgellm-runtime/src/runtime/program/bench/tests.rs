use super::*;
use crate::runtime::bench::{BenchOptions, BenchResult};
use crate::runtime::engine::Capacity;
use crate::runtime::tests::Automaton;
use std::sync::atomic::AtomicBool;

const BANDWIDTH: Option<Bandwidth> = Some(Bandwidth { threads: 2, bytes_a_second: 1e6 });

fn measured(change: fn(Automaton) -> Automaton) -> (BenchResult, Automaton, usize) {
    let options = BenchOptions {
        prompt_tokens: vec![20, 50],
        generate: 10,
        depths: vec![0, 30],
        batches: vec![1, 3],
        repeats: 3,
        warmup: 1,
    };
    assert_eq!((options.positions(), options.sequences(), options.runs()), (80, 3, 32));
    let mut engine = change(Automaton::new(130, Capacity { sequences: 3, positions: 80, rows: 16 }));
    let mut runs = 0;
    let not = AtomicBool::new(false);
    let result = bench(&mut engine, &options, 600, &not, &mut || runs += 1).unwrap();
    (result, engine, runs)
}

#[test]
fn every_case_is_measured_and_no_sequence_is_left() {
    for change in [
        |engine| engine,
        |engine: Automaton| engine.that_runs_ahead(),
        |engine: Automaton| engine.that_forgets(0),
    ] {
        let (result, engine, runs) = measured(change);
        assert_eq!((engine.open_sequences(), runs), (0, 32));
        let prompts: Vec<_> = result.prompts.iter().map(|case| (case.speed.tokens, case.depth)).collect();
        assert_eq!(prompts, [(20, 0), (20, 30), (50, 0), (50, 30)]);
        let generations: Vec<_> =
            result.generations.iter().map(|case| (case.depth, case.batch, case.bytes_a_token)).collect();
        // The weights are shared by the sequences; keys and values are those of the middle of the run.
        let bytes = |batch: u64, position: u64| Some(600 / batch + 4 * position + 4);
        let expected =
            [(0, 1, bytes(1, 5)), (0, 3, bytes(3, 5)), (30, 1, bytes(1, 35)), (30, 3, bytes(3, 35))];
        assert_eq!(generations, expected);
        for speed in result
            .prompts
            .iter()
            .map(|case| case.speed)
            .chain(result.generations.iter().map(|case| case.speed))
        {
            assert!(0.0 < speed.min && speed.min <= speed.median && speed.median <= speed.max, "{speed:?}");
        }
    }
}

#[test]
fn the_table_has_a_line_for_each_case() {
    let (result, ..) = measured(|engine| engine);
    let text = table::table(&result, BANDWIDTH);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.iter().filter(|line| line.starts_with("prompt ")).count(), 4);
    assert_eq!(lines.iter().filter(|line| line.starts_with("generation ") && line.ends_with('%')).count(), 4);
    assert!(text.contains("memory gives 0.0 GB/s to 2 threads"), "{text}");
    let plain = table::table(&result, None);
    assert!(!plain.contains("allows") && !plain.contains("GB/s"), "{plain}");
}

#[test]
fn scripts_get_the_roof_of_each_case() {
    let (result, ..) = measured(|engine| engine);
    let value = json(&result, BANDWIDTH);
    let case = &value["generations"][1];
    assert_eq!((&case["depth"], &case["batch"], &case["tokens"]), (&json!(0), &json!(3), &json!(10)));
    let roof = case["roof"]["tokens_per_second"].as_f64().unwrap();
    assert!((roof - 1e6 / 224.0).abs() < 1e-6, "{case}");
    let reached = case["median"].as_f64().unwrap() / roof;
    assert!((case["roof"]["reached"].as_f64().unwrap() / reached - 1.0).abs() < 1e-9, "{case}");
    assert_eq!(value["generation"]["tokens"], 10);
    assert!(json(&result, None)["generations"][0].get("roof").is_none());
}

#[test]
fn a_plot_has_a_bar_for_each_case() {
    let (result, ..) = measured(|engine| engine);
    let text = plot::draw("a <model>", &result, BANDWIDTH).unwrap();
    assert!(text.starts_with("<svg") && text.trim_end().ends_with("</svg>"), "{text}");
    for label in ["a &lt;model&gt;", "50 tokens at 30", "1 sequence at 0", "3 sequences at 30"] {
        assert!(text.contains(label), "{label} is not in {text}");
    }
    assert_eq!(text.matches(r##"fill="#466EB4""##).count(), 8, "{text}");
}
