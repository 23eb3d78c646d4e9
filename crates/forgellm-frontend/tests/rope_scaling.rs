//! Rope scaling that a file asks for reaches the rotation of every query: files with `rope.scaling.*` or a `rope_freqs.weight`,
//! through import and interpreter, against the published formulas.

use std::collections::BTreeMap;
use std::f64::consts::TAU;

use forgellm_frontend::arch::import;
use forgellm_frontend::checkpoint::gguf::{GgufFile, GgufWriter, TensorSpec};
use forgellm_frontend::checkpoint::{Metadata, Value};
use forgellm_frontend::interp::{Interpreter, Row};
use forgellm_frontend::ir::{DType, Graph};
use forgellm_frontend::synth::{Shape, write};

const POSITIONS: usize = 40;

/// A rotation: the frequency of each pair of elements, what the result is multiplied by, and which elements are a pair.
struct Rotation {
    frequencies: Vec<f64>,
    scale: f64,
    interleaved: bool,
}

fn plain(theta: f64, head_dim: usize) -> Vec<f64> {
    (0..head_dim / 2).map(|pair| theta.powf(-2.0 * pair as f64 / head_dim as f64)).collect()
}

/// The queries of `layer` before and after rope, by position.
fn observe(file: &GgufFile, layer: u32) -> Vec<(Vec<f32>, Vec<f32>)> {
    let graph = import(file).unwrap();
    let graph_ref: &Graph = &graph;
    let rope =
        graph_ref.nodes().iter().find(|node| node.layer == Some(layer) && node.label == "q_rope").unwrap();
    let producer = |value| graph_ref.nodes().iter().position(|node| node.outputs.contains(&value)).unwrap();
    let (before, after) = (producer(rope.inputs[0]), producer(rope.outputs[0]));
    let rows: Vec<Row> = (0..POSITIONS)
        .map(|position| Row { token: 7 * position as u32, position, sequence: 0, want: false })
        .collect();
    let mut seen = BTreeMap::new();
    Interpreter::new(&graph, file)
        .unwrap()
        .step_observed(&rows, |node, values| {
            let rows = (0..POSITIONS.min(values.rows())).map(|row| values.row(row).to_vec());
            seen.insert(node.index(), rows.collect::<Vec<_>>());
        })
        .unwrap();
    seen.remove(&before).unwrap().into_iter().zip(seen.remove(&after).unwrap()).collect()
}

/// By how much the rotated queries are off at most, relative to the largest.
fn error(queries: &[(Vec<f32>, Vec<f32>)], head_dim: usize, rotation: &Rotation) -> f64 {
    let (mut error, mut size) = (0.0f64, 0.0f64);
    for (position, (before, after)) in queries.iter().enumerate() {
        for (x, y) in before.chunks(head_dim).zip(after.chunks(head_dim)) {
            for (pair, frequency) in rotation.frequencies.iter().enumerate() {
                let (a, b) = match rotation.interleaved {
                    true => (2 * pair, 2 * pair + 1),
                    false => (pair, pair + head_dim / 2),
                };
                let (sin, cos) = (position as f64 * frequency).sin_cos();
                let (xa, xb) = (f64::from(x[a]), f64::from(x[b]));
                for (at, expected) in [(a, xa * cos - xb * sin), (b, xa * sin + xb * cos)] {
                    error = error.max((f64::from(y[at]) - expected * rotation.scale).abs());
                    size = size.max(expected.abs());
                }
            }
        }
    }
    error / size
}

#[track_caller]
fn check(file: &GgufFile, layer: u32, head_dim: usize, theta: f64, scaled: &Rotation) {
    let queries = observe(file, layer);
    let off = error(&queries, head_dim, scaled);
    assert!(off < 1e-5, "layer {layer}: rotated otherwise than the file says, by {off:e}");
    // What a reader that passes over the scaling gives is far from it.
    let ignored =
        Rotation { frequencies: plain(theta, head_dim), scale: 1.0, interleaved: scaled.interleaved };
    if ignored.frequencies != scaled.frequencies {
        let off = error(&queries, head_dim, &ignored);
        assert!(off > 0.1, "layer {layer}: scaled and plain rope differ by only {off:e}");
    }
}

/// A model file of random weights with more metadata.
fn file(shape: &str, changes: &[(&str, Value)]) -> GgufFile {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    write(Shape::find(shape).unwrap(), DType::F32, 3, &path, &mut |_, _| {}).unwrap();
    let plain = GgufFile::open(&path).unwrap();
    let mut metadata: Metadata = plain.metadata().clone();
    for (key, value) in changes {
        metadata.insert((*key).to_owned(), value.clone());
    }
    let tensors: Vec<TensorSpec> = plain
        .tensors()
        .iter()
        .map(|tensor| TensorSpec {
            name: tensor.name.clone(),
            dtype: tensor.dtype,
            shape: tensor.shape.clone(),
        })
        .collect();
    let changed = folder.path().join("changed.gguf");
    let mut writer = GgufWriter::create(&changed, &metadata, &tensors).unwrap();
    for tensor in plain.tensors() {
        writer.write(plain.data(tensor)).unwrap();
    }
    writer.finish().unwrap();
    GgufFile::parse("changed.gguf", std::fs::read(&changed).unwrap()).unwrap()
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

/// Position interpolation (Chen et al. 2023, arXiv 2306.15595): positions divided by the factor.
#[test]
fn linear_scaling_divides_positions() {
    for changes in [
        vec![("llama.rope.scaling.type", text("linear")), ("llama.rope.scaling.factor", Value::F32(4.0))],
        // As older files have it.
        vec![("llama.rope.scale_linear", Value::F32(4.0))],
    ] {
        let frequencies = plain(10_000.0, 64).iter().map(|frequency| frequency / 4.0).collect();
        let rotation = Rotation { frequencies, scale: 1.0, interleaved: true };
        check(&file("tiny-llama", &changes), 1, 64, 10_000.0, &rotation);
    }
}

/// Gemma 3 stretches its global layers alone; local ones keep their own base.
#[test]
fn scaling_of_gemma3_is_for_its_global_layers() {
    let file = file(
        "tiny-gemma3",
        &[("gemma3.rope.scaling.type", text("linear")), ("gemma3.rope.scaling.factor", Value::F32(8.0))],
    );
    let global: Vec<f64> = plain(1_000_000.0, 128).iter().map(|frequency| frequency / 8.0).collect();
    let rotation = Rotation { frequencies: global, scale: 1.0, interleaved: false };
    check(&file, 5, 128, 1_000_000.0, &rotation);
    let rotation = Rotation { frequencies: plain(10_000.0, 128), scale: 1.0, interleaved: false };
    check(&file, 0, 128, 10_000.0, &rotation);
}

/// YaRN (Peng et al. 2023, arXiv 2309.00071, section 3.2 and 3.4): pairs that turn often within the original context stay, those that
/// do not turn once are divided by the factor, and between the two (borders at whole pairs) lies a straight line.
#[test]
fn yarn_stretches_slow_pairs_and_scales_the_rest() {
    const FACTOR: f64 = 16.0;
    const CONTEXT: f64 = 512.0;
    let (fast, slow) = (24.0f64, 2.0f64);
    let file = file(
        "tiny-qwen2",
        &[
            ("qwen2.rope.scaling.type", text("yarn")),
            ("qwen2.rope.scaling.factor", Value::F32(FACTOR as f32)),
            ("qwen2.rope.scaling.original_context_length", Value::U64(CONTEXT as u64)),
            ("qwen2.rope.scaling.yarn_beta_fast", Value::F32(fast as f32)),
            ("qwen2.rope.scaling.yarn_beta_slow", Value::F32(slow as f32)),
        ],
    );
    let theta = 1_000_000.0f64;
    let plain = plain(theta, 64);
    // The pair that turns `turns` times, between two whole ones: theta^(-2 pair / 64) * CONTEXT = turns * TAU.
    let pair_of = |turns: f64| 32.0 * (CONTEXT / (TAU * turns)).log(theta);
    let (first, last) = (pair_of(fast).floor() as usize, pair_of(slow).ceil() as usize);
    assert!(0 < first && first + 2 < last && last < 31, "the case has all three regions: {first} {last}");
    let frequencies: Vec<f64> = (0..32)
        .map(|pair| match pair {
            _ if pair <= first => plain[pair],
            _ if pair >= last => plain[pair] / FACTOR,
            _ => {
                let kept = (last - pair) as f64 / (last - first) as f64;
                plain[pair] * kept + plain[pair] / FACTOR * (1.0 - kept)
            }
        })
        .collect();
    let rotation = Rotation { frequencies, scale: 0.1 * FACTOR.ln() + 1.0, interleaved: false };
    check(&file, 0, 64, theta, &rotation);
    check(&file, 1, 64, theta, &rotation);
}

/// Llama 3.1's rule by wavelengths (Hugging Face's `_compute_llama3_parameters`), which its files hold as a tensor of factors.
#[test]
fn factors_of_llama3_are_read_from_the_file() {
    let (theta, factor, context) = (500_000.0, 8.0, 128.0);
    let (low, high) = (1.0, 4.0);
    let frequencies = plain(theta, 64)
        .into_iter()
        .map(|frequency| {
            let wavelength = TAU / frequency;
            if wavelength < context / high {
                frequency
            } else if wavelength > context / low {
                frequency / factor
            } else {
                let smooth = (context / wavelength - low) / (high - low);
                (1.0 - smooth) * frequency / factor + smooth * frequency
            }
        })
        .collect();
    let rotation = Rotation { frequencies, scale: 1.0, interleaved: true };
    check(&file("tiny-llama3", &[]), 1, 64, theta, &rotation);
}

#[test]
fn scaling_that_is_not_known_is_refused() {
    for (changes, message) in [
        (vec![("llama.rope.scaling.type", text("longrope"))], "only none, linear and yarn"),
        (vec![("llama.rope.scaling.factor", Value::F32(-2.0))], "must be positive"),
        (
            vec![("llama.rope.scaling.type", text("yarn")), ("llama.rope.scaling.factor", Value::F32(4.0))],
            "llama.rope.scaling.original_context_length",
        ),
        (vec![("llama.rope.scaling.attn_factor", Value::F32(0.5))], "attention factor"),
    ] {
        let error = import(&file("tiny-llama", &changes)).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}
