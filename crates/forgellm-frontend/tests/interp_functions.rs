//! The interpreter's functions against NumPy in f64 (`fixtures/interp/make_interp.py`).

use forgellm_frontend::interp::functions;
use forgellm_frontend::ir::{
    Attention, CacheId, HiddenActivation, Rope, RopeScaling, RopeStyle, WeightId, rope_frequencies,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Cases {
    attention: Vec<AttentionCase>,
    rope: Vec<RopeCase>,
    rms_norm: Vec<NormCase>,
    activation: Vec<ActivationCase>,
}

#[derive(Deserialize)]
struct AttentionCase {
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    positions: usize,
    scale: f32,
    softcap: Option<f32>,
    window: Option<usize>,
    sinks: Option<Vec<f32>>,
    q: Vec<f32>,
    kv: Vec<f32>,
    out: Vec<f64>,
}

#[derive(Deserialize)]
struct RopeCase {
    style: String,
    head_dim: usize,
    rotary_dim: usize,
    theta: f32,
    scaling: Scaling,
    position: usize,
    factors: Option<Vec<f32>>,
    x: Vec<f32>,
    out: Vec<f64>,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Scaling {
    None,
    Linear { factor: f32 },
    Yarn { factor: f32, original_context: usize, beta_fast: f32, beta_slow: f32 },
}

#[derive(Deserialize)]
struct NormCase {
    eps: f32,
    x: Vec<f32>,
    weight: Vec<f32>,
    out: Vec<f64>,
}

#[derive(Deserialize)]
struct ActivationCase {
    kind: String,
    x: Vec<f32>,
    out: Vec<f64>,
}

#[test]
fn attention_equals_numpy() {
    for case in cases().attention {
        let op: Attention<WeightId> = Attention {
            cache: CacheId(0),
            heads: case.heads,
            kv_heads: case.kv_heads,
            head_dim: case.head_dim,
            scale: case.scale,
            softcap: case.softcap,
            window: case.window,
            sinks: None,
        };
        let (width, cache) = (case.heads * case.head_dim, 2 * case.kv_heads * case.head_dim);
        let mut out = vec![f32::NAN; case.q.len()];
        for (position, (q, out)) in case.q.chunks(width).zip(out.chunks_mut(width)).enumerate() {
            functions::attention(&op, q, &case.kv[..(position + 1) * cache], case.sinks.as_deref(), out);
        }
        assert_eq!(out.len(), case.positions * width);
        assert_close(&out, &case.out, 1e-6, &format!("{op:?}"));
    }
}

#[test]
fn rope_equals_numpy() {
    for case in cases().rope {
        let op: Rope<WeightId> = Rope {
            style: match case.style.as_str() {
                "interleaved" => RopeStyle::Interleaved,
                "half_split" => RopeStyle::HalfSplit,
                other => panic!("{other}"),
            },
            head_dim: case.head_dim,
            rotary_dim: case.rotary_dim,
            theta: case.theta,
            scaling: match case.scaling {
                Scaling::None => RopeScaling::None,
                Scaling::Linear { factor } => RopeScaling::Linear { factor },
                Scaling::Yarn { factor, original_context, beta_fast, beta_slow } => {
                    RopeScaling::Yarn { factor, original_context, beta_fast, beta_slow }
                }
            },
            freq_factors: None,
        };
        let (frequencies, magnitude) = rope_frequencies(&op, case.factors.as_deref());
        let mut x = case.x.clone();
        functions::rope(&mut x, case.position, op.style, op.head_dim, &frequencies, magnitude);
        // Angles are products in f32: at position 1000 they are off by up to 3e-5.
        assert_close(&x, &case.out, 1e-6 + 1e-7 * case.position as f64, &format!("{op:?}"));
    }
}

#[test]
fn rms_norm_equals_numpy() {
    for case in cases().rms_norm {
        let mut x = case.x.clone();
        functions::rms_norm(&mut x, &case.weight, case.eps);
        assert_close(&x, &case.out, 5e-7, &format!("chunks of {}, eps {}", case.weight.len(), case.eps));
    }
}

#[test]
fn activations_equal_numpy() {
    for case in cases().activation {
        let kind = match case.kind.as_str() {
            "silu" => HiddenActivation::Silu,
            "gelu_tanh" => HiddenActivation::GeluTanh,
            "gelu_erf" => HiddenActivation::GeluErf,
            other => panic!("{other}"),
        };
        let out: Vec<f32> = case.x.iter().map(|x| functions::activation(kind, *x)).collect();
        assert_close(&out, &case.out, 5e-7, &case.kind);
    }
}

fn cases() -> Cases {
    serde_json::from_str(include_str!("fixtures/interp/cases.json")).unwrap()
}

/// Each element may be off by `tolerance` of itself, or of 1 where it is smaller.
fn assert_close(found: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(*found) - expected).abs();
        assert!(
            error <= tolerance * expected.abs().max(1.0),
            "{what}: element {index} is {found}, not {expected}"
        );
    }
}
