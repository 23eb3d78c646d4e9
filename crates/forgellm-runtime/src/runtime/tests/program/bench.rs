//! `bench` from the command line.

use serde_json::Value;

use super::{Files, SPEC, run_with};

#[test]
fn bench_measures_prompt_and_generation() {
    for (name, arguments) in [
        ("new", ["--prompt-tokens", "100,60", "--generate", "20", "--repeats", "3"]),
        ("old", ["--prompt-tokens", "100,60", "--max-tokens", "20", "--repetitions", "3"]),
        ("short", ["-p", "100,60", "-n", "20", "-r", "3"]),
    ] {
        let files = Files::new();
        let rest = ["--depth", "0,40", "--batch", "2", "--no-bandwidth", "--weights", "@model.weights"];
        let arguments = [&["bench", "--json", "--plot", "@plot.svg"], &arguments[..], &rest].concat();
        let (code, out, err) = run_with(&SPEC, &files, &arguments, false);
        assert_eq!((code, err.as_str()), (0, ""), "{name}");
        let result: Value = serde_json::from_str(&out).unwrap();
        for (part, tokens) in [("prompt", 100), ("generation", 20)] {
            let speed = |key: &str| result[part][key].as_f64().unwrap();
            assert_eq!(result[part]["tokens"], tokens);
            assert!(0.0 < speed("min") && speed("min") <= speed("median") && speed("median") <= speed("max"));
        }
        let count = |part: &str| result[part].as_array().unwrap().len();
        assert_eq!((count("prompts"), count("generations")), (4, 2));
        assert_eq!(result["generations"][1]["bytes_a_token"], 4 / 2 + (40 + 10 + 1) * 4);
        assert!(std::fs::read_to_string(files.path("plot.svg")).unwrap().starts_with("<svg"));
    }
}
