//! Synthetic models: complete, of the asked-for type, with weights that keep activations sane.

use std::path::Path;

use forgellm_frontend::arch::import;
use forgellm_frontend::checkpoint::gguf::GgufFile;
use forgellm_frontend::ir::DType;
use forgellm_frontend::quant::dequantize;
use forgellm_frontend::synth::{SHAPES, Shape, SynthError, write, write_in_place};
use forgellm_frontend::tokenizer;

fn tiny() -> impl Iterator<Item = &'static Shape> {
    SHAPES.iter().filter(|shape| shape.name.starts_with("tiny-"))
}

fn synthesise(folder: &Path, shape: &Shape, dtype: DType, seed: u64) -> GgufFile {
    let path = folder.join(format!("{}-{dtype}-{seed}.gguf", shape.name));
    write(shape, dtype, seed, &path, &mut |_, _| {}).unwrap();
    GgufFile::open(path).unwrap()
}

fn mean_and_deviation(values: &[f32]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
    let square = values.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>() / count;
    (mean, square.sqrt())
}

#[test]
fn every_tiny_shape_in_every_type() {
    let folder = tempfile::tempdir().unwrap();
    for shape in tiny() {
        let embedding_gain = if shape.architecture == "gemma3" { 0.25 } else { 1.0 };
        for &dtype in DType::ALL {
            let file = synthesise(folder.path(), shape, dtype, 1);
            for tensor in file.tensors() {
                let mut values = vec![0.0; tensor.elements()];
                dequantize(tensor.dtype, file.data(tensor), &mut values).unwrap();
                let (mean, deviation) = mean_and_deviation(&values);
                let name = &tensor.name;
                let (expected_mean, expected_deviation) = match tensor.shape.as_slice() {
                    [_, inputs] => {
                        assert_eq!(tensor.dtype, dtype, "{name}");
                        let gain = if name == "token_embd.weight" || name == "output.weight" {
                            embedding_gain
                        } else {
                            1.0
                        };
                        (0.0, gain / (*inputs as f64).sqrt())
                    }
                    _ => {
                        assert_eq!(tensor.dtype, DType::F32, "{name}");
                        match name.as_str() {
                            "rope_freqs.weight" => continue,
                            "output_norm.weight" => (2.0 / embedding_gain, 0.1),
                            name if name.ends_with(".bias") => (0.0, 0.5),
                            _ => (1.0, 0.1),
                        }
                    }
                };
                let context = format!("{} {dtype} {name}: mean {mean}, deviation {deviation}", shape.name);
                assert!((0.8..1.2).contains(&(deviation / expected_deviation)), "{context}");
                let tolerance = 0.06 + 5.0 / (values.len() as f64).sqrt();
                assert!((mean - expected_mean).abs() < tolerance * expected_deviation, "{context}");
            }
        }
    }
}

#[test]
fn the_seed_decides_every_byte() {
    let folder = tempfile::tempdir().unwrap();
    let shape = Shape::find("tiny-llama").unwrap();
    let first = synthesise(folder.path(), shape, DType::Q4_K, 7);
    let bytes = first.bytes().to_vec();
    assert_eq!(synthesise(folder.path(), shape, DType::Q4_K, 7).bytes(), bytes);
    let other = synthesise(folder.path(), shape, DType::Q4_K, 8);
    for (a, b) in first.tensors().iter().zip(other.tensors()) {
        assert_ne!(first.data(a), other.data(b), "{}", a.name);
    }
    let q = first.data(first.tensor("blk.0.attn_q.weight").unwrap());
    assert_ne!(q, first.data(first.tensor("blk.1.attn_q.weight").unwrap()), "layers differ");
}

#[test]
fn every_tensor_and_token_has_its_use() {
    let folder = tempfile::tempdir().unwrap();
    for shape in tiny() {
        let file = synthesise(folder.path(), shape, DType::Q8_0, 1);
        let graph = import(&file).unwrap_or_else(|error| panic!("{}: {error}", shape.name));
        let config = graph.config.as_ref().unwrap();
        assert_eq!((config.num_layers, config.head_dim), (shape.layers, shape.head_dim));
        let tokenizer = tokenizer::from_metadata(file.metadata());
        assert!(tokenizer.is_ok(), "{}: {}", shape.name, tokenizer.err().unwrap());
    }
}

/// The published models' numbers of weights.
#[test]
fn shapes_of_real_models_have_their_number_of_weights() {
    for (name, parameters) in [
        ("smollm2-135m", 134_515_008),
        ("gemma3-270m", 268_098_176),
        ("qwen2.5-0.5b", 494_032_768),
        ("llama-3.2-1b", 1_235_814_400),
        ("llama-3.1-8b", 8_030_261_248),
    ] {
        assert_eq!(Shape::find(name).unwrap().parameters(), parameters, "{name}");
    }
}

#[test]
fn rope_factors_rise_from_one_to_the_whole_factor() {
    let folder = tempfile::tempdir().unwrap();
    let file = synthesise(folder.path(), Shape::find("tiny-llama3").unwrap(), DType::F32, 1);
    let tensor = file.tensor("rope_freqs.weight").unwrap();
    assert_eq!(tensor.shape, [32]);
    let mut factors = [0.0; 32];
    dequantize(DType::F32, file.data(tensor), &mut factors).unwrap();
    assert_eq!((factors[0], factors[31]), (1.0, 8.0));
    assert!(factors.is_sorted());
    assert!(factors.iter().any(|&factor| factor > 1.0 && factor < 8.0));
}

#[test]
fn tokenizers_have_unique_tokens_and_reachable_merges() {
    let folder = tempfile::tempdir().unwrap();
    for shape in tiny() {
        let file = synthesise(folder.path(), shape, DType::Q4_0, 1);
        let metadata = file.metadata();
        let tokens = metadata.require_strings("tokenizer.ggml.tokens").unwrap();
        assert_eq!(tokens.len(), shape.vocab);
        assert_eq!(file.tensor("token_embd.weight").unwrap().shape, [shape.vocab, shape.hidden]);
        let unique: std::collections::BTreeSet<&String> = tokens.iter().collect();
        assert_eq!(unique.len(), tokens.len(), "{}", shape.name);
        let kinds = metadata.require_integers("tokenizer.ggml.token_type").unwrap();
        assert_eq!(kinds.len(), tokens.len());
        for key in ["bos_token_id", "eos_token_id", "padding_token_id"] {
            let id = metadata.require_usize(&format!("tokenizer.ggml.{key}")).unwrap();
            assert_eq!(kinds[id], 3, "{key} of {} is a control token", shape.name);
        }
        for merge in metadata.strings("tokenizer.ggml.merges").unwrap().unwrap_or(&[]) {
            let (left, right) = merge.split_once(' ').unwrap();
            for part in [left, right, &format!("{left}{right}")] {
                assert!(unique.contains(&part.to_owned()), "{part}");
            }
        }
    }
}

#[test]
fn progress_ends_at_the_total_and_failure_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let shape = Shape::find("tiny-llama").unwrap();
    let mut last = (0, 1);
    write(shape, DType::F32, 1, &folder.path().join("a.gguf"), &mut |done, total| {
        assert!(done > last.0 && done <= total);
        last = (done, total);
    })
    .unwrap();
    assert_eq!(last.0, last.1);
    let in_place = folder.path().join("b.gguf");
    write_in_place(shape, DType::F32, 1, &in_place, &mut |_, _| assert!(in_place.exists())).unwrap();
    let read = |path: &Path| std::fs::read(path).unwrap();
    assert!(read(&in_place) == read(&folder.path().join("a.gguf")));
    let error =
        write(shape, DType::F32, 1, &folder.path().join("missing/a.gguf"), &mut |_, _| {}).unwrap_err();
    assert!(matches!(error, SynthError::Write(_)), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn an_unknown_shape_names_the_known_ones() {
    let message = Shape::find("tiny").unwrap_err().to_string();
    assert!(message.starts_with("unknown shape `tiny`; known: tiny-llama, "), "{message}");
    assert_eq!("tiny-qwen2".parse::<Shape>().unwrap().architecture, "qwen2");
}
