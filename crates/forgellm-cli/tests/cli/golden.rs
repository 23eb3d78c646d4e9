//! Compiled programs of real models against an independent implementation (`tests/golden/make_golden.py`), and
//! against the interpreter.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::forge::{Workplace, outcome};

/// A step whose two best logits are closer than this may go either way with quantised activations.
const SURE_MARGIN: f64 = 0.25;

#[test]
fn golden_smollm2() {
    let model = Golden::new("smollm2.gguf", "smollm2-135m.json");
    model.check();
    model.check_long_prompt();
}

#[test]
fn golden_gemma3() {
    Golden::new("gemma3.gguf", "gemma3-270m.json").check();
}

#[test]
fn golden_qwen2() {
    Golden::new("qwen.gguf", "qwen2.5-coder-0.5b.json").check();
}

#[cfg(target_os = "linux")]
#[test]
fn golden_memory() {
    Golden::new("smollm2.gguf", "smollm2-135m.json").check_memory();
    Golden::new("gemma3.gguf", "gemma3-270m.json").check_memory();
}

pub struct Golden {
    pub place: Workplace,
    pub model: String,
    pub data: Value,
}

impl Golden {
    pub fn new(model: &str, data: &str) -> Golden {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let models =
            std::env::var_os("FORGELLM_MODELS").map_or_else(|| workspace.join("models"), PathBuf::from);
        let model = models.join(model);
        assert!(model.exists(), "{} is missing: run `cargo xtask models`", model.display());
        Golden {
            place: Workplace::new(),
            model: fs::canonicalize(model).unwrap().to_str().unwrap().to_owned(),
            data: serde_json::from_slice(&fs::read(workspace.join("tests/golden").join(data)).unwrap())
                .unwrap(),
        }
    }

    pub fn json(&self, arguments: &[&str]) -> Value {
        let run = outcome(&mut self.place.building(arguments)).succeeded();
        serde_json::from_str(&run.stdout).unwrap()
    }

    /// Greedy ids after each of `prompts`, all in the same steps.
    fn generate(&self, target: &str, prompts: &[String], count: usize) -> Vec<Value> {
        let count = count.to_string();
        let mut arguments = vec!["run", "--target", target, &self.model, "--json"];
        arguments.extend(["generate-ids", "--max-tokens", count.as_str()]);
        arguments.extend(prompts.iter().flat_map(|prompt| ["--ids", prompt]));
        self.json(&arguments)["sequences"].as_array().unwrap().clone()
    }

    fn check(&self) {
        self.check_perplexity("cpu");
        for case in self.data["greedy"].as_array().unwrap() {
            self.check_greedy("cpu", case, usize::MAX);
        }
        self.check_together();
        self.check_size();
    }

    pub fn check_perplexity(&self, target: &str) {
        let golden = &self.data["perplexity"][0];
        let text = self.place.path("text");
        fs::write(&text, golden["text"].as_str().unwrap()).unwrap();
        let text = text.to_str().unwrap();
        let score =
            self.json(&["eval", "perplexity", &self.model, "--text", text, "--target", target, "--json"]);
        assert_eq!(score["tokens"], golden["tokens_scored"]);
        let ratio = score["perplexity"].as_f64().unwrap() / golden["perplexity"].as_f64().unwrap();
        println!("perplexity {} of golden {}: {ratio:.5}", score["perplexity"], golden["perplexity"]);
        assert!((ratio - 1.0).abs() <= 0.005, "{score} instead of {}", golden["perplexity"]);
    }

    /// The first `steps` of a greedy answer, as far as they are sure.
    pub fn check_greedy(&self, target: &str, case: &Value, steps: usize) {
        let expected = case["continuation"].as_array().unwrap();
        let expected = &expected[..steps.min(expected.len())];
        let found = self.generate(target, &[ids(&case["ids"])], expected.len()).remove(0);
        let margins = case["margins"].as_array().unwrap();
        let unsure = margins.iter().position(|margin| margin.as_f64().unwrap() < SURE_MARGIN);
        let sure = unsure.unwrap_or(expected.len()).min(expected.len());
        println!("{}: {sure} of {} steps are sure", case["text"], expected.len());
        assert_eq!(found.as_array().unwrap()[..sure], expected[..sure], "{}", case["text"]);
    }

    /// Eight sequences with prompts of their own in one program, more rows than a step takes, so that some generate while the
    /// prompts of others still run: each gives the tokens that it gives alone.
    fn check_together(&self) {
        let text = self.data["perplexity"][0]["ids"].as_array().unwrap();
        let prompt =
            |(index, length): (usize, &usize)| ids(&Value::from(text[7 * index..][..*length].to_vec()));
        let lengths = [150, 1, 64, 5, 200, 12, 100, 31];
        let mut prompts: Vec<String> = lengths.iter().enumerate().map(prompt).collect();
        prompts[1] = ids(&self.data["greedy"][1]["ids"]);
        let together = self.generate("cpu", &prompts, 32);
        assert_eq!(together.len(), 8);
        for (prompt, together) in prompts.iter().zip(&together) {
            let alone = self.generate("cpu", std::slice::from_ref(prompt), 32).remove(0);
            assert_eq!(*together, alone, "{prompt}");
        }
        let different = together.iter().map(Value::to_string).collect::<std::collections::BTreeSet<_>>();
        assert_eq!(different.len(), 8, "the answers cannot be told apart: {together:?}");
    }

    /// The length of the weights file.
    fn weights_bytes(&self) -> u64 {
        let weights = self.place.path("weights.safetensors");
        let path = weights.to_str().unwrap();
        outcome(&mut self.place.building(&["export-weights", &self.model, "-o", path])).succeeded();
        fs::metadata(&weights).unwrap().len()
    }

    /// The weights file is hardly larger than the tensors that it is made from.
    fn check_size(&self) {
        let info = self.json(&["info", &self.model, "--tensors", "--json"]);
        let tensors: u64 =
            info["tensors"].as_array().unwrap().iter().map(|tensor| tensor["bytes"].as_u64().unwrap()).sum();
        let ratio = self.weights_bytes() as f64 / tensors as f64;
        println!("weights file: {ratio:.4} of the tensors");
        assert!(ratio <= 1.05, "the weights file has {ratio:.3} times the bytes of the tensors");
    }

    /// The memory of a program that runs a long prompt and an answer: the mapped weights, the cache, and little else.
    #[cfg(target_os = "linux")]
    fn check_memory(&self) {
        let text = self.data["perplexity"][0]["ids"].as_array().unwrap();
        let prompt: Vec<Value> = text.iter().cycle().take(600).cloned().collect();
        let prompt = ids(&Value::from(prompt));
        let arguments = ["--quiet", "run", &self.model, "generate-ids", "--ids", &prompt, "-n", "200"];
        let mut child = self.place.building(&arguments).stdout(Stdio::null()).spawn().unwrap();
        let status = format!("/proc/{}/status", child.id());
        // The high-water mark, taken until the end. It starts anew when forge becomes the program.
        let mut peak = 0;
        while child.try_wait().unwrap().is_none() {
            let text = fs::read_to_string(&status).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            if let Some(kib) = line.and_then(|line| line.trim().strip_suffix(" kB")) {
                peak = 1024 * kib.trim().parse::<u64>().unwrap();
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(child.wait().unwrap().success());
        let weights = self.weights_bytes();
        let config = self.json(&["info", &self.model, "--json"])["config"].clone();
        let size = |key: &str| config[key].as_u64().unwrap();
        // Keys and values in f16, as if no layer had a window.
        let cache = 800 * size("layers") * size("kv_heads") * size("head_dim") * 2 * 2;
        let most = weights * 6 / 5 + cache + 100_000_000;
        println!("memory: {peak} bytes at most, weights {weights}, cache {cache}, allowed {most}");
        assert!(peak <= most, "{peak} bytes resident, {most} allowed");
        assert!(peak >= weights / 2, "{peak} bytes are not the program's");
    }

    /// 3,000 tokens, in several steps of the engine, against the interpreter.
    /// After 3,000 tokens, every target is where the interpreter is.
    fn check_long_prompt(&self) {
        let text = self.data["perplexity"][0]["ids"].as_array().unwrap();
        let prompt: Vec<Value> = text.iter().cycle().take(3000).cloned().collect();
        let prompt = ids(&Value::from(prompt));
        let last = |target: &str| {
            let arguments =
                ["eval", "logits", &self.model, "--ids", &prompt, "--top", "256", "--json", "--target"];
            let all = self.json(&[&arguments[..], &[target]].concat());
            let positions = all["positions"].as_array().unwrap();
            assert_eq!(positions.len(), 3000);
            positions[2999].clone()
        };
        let expected = last("interp");
        let logit = |of: &Value, id: &Value| {
            let at = of["ids"].as_array().unwrap().iter().position(|other| other == id)?;
            of["logits"][at].as_f64()
        };
        for target in ["cpu", "metal-sim"] {
            let found = last(target);
            let (mut error, mut power) = (0.0, 0.0);
            for id in expected["ids"].as_array().unwrap().iter().take(100) {
                let exact = logit(&expected, id).unwrap();
                let found =
                    logit(&found, id).unwrap_or_else(|| panic!("token {id} is not among the first 256"));
                error += (found - exact).powi(2);
                power += exact * exact;
            }
            println!("3000 tokens on {target}: normalised mean square error {:.2e}", error / power);
            assert!(error / power <= 1e-3, "{target}: normalised mean square error {:.2e}", error / power);
        }
    }
}

pub fn ids(value: &Value) -> String {
    value.as_array().unwrap().iter().map(Value::to_string).collect::<Vec<_>>().join(",")
}
