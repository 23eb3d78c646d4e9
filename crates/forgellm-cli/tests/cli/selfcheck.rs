//! The self-check of built programs.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::forge::{Outcome, Workplace, outcome};

fn run(place: &Workplace, target: &str, arguments: &[&str]) -> Outcome {
    let run = ["run", "--target", target, "model.gguf"];
    outcome(&mut place.building(&[&run[..], arguments].concat()))
}

/// The emitted program on the simulated GPU, which runs what a Mac runs.
#[test]
fn all_kernels_of_a_metal_program_are_checked() {
    let place = Workplace::new().with_model("tiny-gemma3", "Q4_K");
    let checked = run(&place, "metal-sim", &["--json", "selfcheck"]).succeeded();
    let report: Value = serde_json::from_str(&checked.stdout).unwrap();
    assert_eq!(report["ok"], true, "{report}");
    let kernels = report["kernels"].as_array().unwrap();
    let name = |kernel: &Value| kernel["name"].as_str().unwrap().to_owned();
    let checked: BTreeSet<String> = kernels.iter().map(name).collect();

    // A prompt that is longer than a tile and than an unsplit context, then single rows.
    let ids: Vec<String> = (0..290).map(|index| (index * 37 % 500).to_string()).collect();
    let arguments = ["generate-ids", "--ids", &ids.join(","), "-n", "3", "--profile"];
    let profiled = run(&place, "metal-sim", &arguments).succeeded();
    let table = profiled.stderr.lines().skip_while(|line| !line.ends_with("  work")).skip(1);
    let dispatched: BTreeSet<String> =
        table.filter_map(|line| line.split_whitespace().last()).map(str::to_owned).collect();
    assert!(dispatched.contains("attention_combine") && dispatched.len() > 10, "{}", profiled.stderr);
    assert!(dispatched.is_subset(&checked), "{dispatched:?} {checked:?}");
}

#[test]
fn a_program_for_the_processor_has_none() {
    let place = Workplace::new().with_model("tiny-gemma3", "F16");
    run(&place, "cpu", &["selfcheck"]).failed(2, &["compiled for cpu, a target without a self-check"]);
}
