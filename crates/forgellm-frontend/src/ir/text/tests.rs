use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;

use crate::ir::*;

const SAMPLES: [&str; 3] = [
    include_str!("../../../tests/fixtures/graph/model.graph"),
    include_str!("../../../tests/fixtures/graph/fused.graph"),
    include_str!("../../../tests/fixtures/graph/joined.graph"),
];

/// The fixtures stand for snapshots: every operation and attribute is in one of them.
#[test]
fn samples_print_as_they_were_written() {
    for sample in SAMPLES {
        let graph: Graph = sample.parse().unwrap();
        assert_eq!(graph.to_string(), sample);
    }
}

#[test]
fn errors_name_the_place_and_the_expectation() {
    let cases = [
        ("graph \"model\"", "", "line 3, column 1: expected `graph`, found `weights`"),
        ("@embed: Q8_0", "@embed: Q8_9", "line 4, column 11: expected a tensor type, found `Q8_9`"),
        ("@0.norm: F32 [32]", "@embed: F32 [32]", "line 5, column 3: weight `embed` is listed twice"),
        ("@0.norm: F32 [32]", "@0.norm: F32 [32", "line 5, column 19: expected `,`, found the line ends"),
        (
            "%1: [rows, 32]",
            "%1: [row, 32]",
            "line 33, column 8: expected `rows`, `wanted`, `context` or a number, found `row`",
        ),
        ("%1: [rows, 32]", "%0: [rows, 32]", "line 33, column 3: %0 is given by line 32 already"),
        ("= add %11, %0", "= subtract %11, %0", "line 44, column 21: there is no operation `subtract`"),
        ("= add %11, %0", "= add %11, %99", "line 44, column 30: %99 has no shape: no line gives it"),
        ("= add %11, %0", "= add %11, @embed", "line 44, column 30: expected a value (`%0`), found `@embed`"),
        ("= add %11, %0", "= add %11, %99999999999", "line 44, column 30: %99999999999 is too large"),
        (" scale=2.0", "", "line 32, column 20: `scale=` is missing"),
        (" scale=2.0", " scale=two", "line 32, column 39: `scale` must be a number"),
        (" scale=2.0", " scale=", "line 32, column 39: `scale` must be a number"),
        (" scale=2.0", " scale=2.0 scale=2.0", "line 32, column 49: `scale` is given twice"),
        (" scale=2.0", " scale=2.0 eps=1", "line 32, column 49: embed has no attribute `eps` here"),
        (" scale=2.0", " scale=2.0 residual", "line 32, column 49: embed has no attribute `residual` here"),
        (
            "table=@embed",
            "table=@embedding",
            "line 32, column 26: there is no weight `embedding` in the list",
        ),
        ("table=@embed", "table=7", "line 32, column 26: `table` must be a weight (`@name`)"),
        ("kind=silu", "kind=relu", "line 47, column 36: `kind` must be one of silu, gelu_tanh, gelu_erf"),
        ("weight=@0.o", "bias=@0.q_bias", "line 43, column 32: `bias` has no `weight` of its own"),
        ("\"embed\"", "\"embed", "line 32, column 49: the text has no closing quote"),
        ("\"embed\"", "\"\\x\"", "line 32, column 50: unknown escape; known: \\\" \\\\ \\u{hexadecimal}"),
        ("\"embed\"", "\"embed\" 7", "line 32, column 57: expected the end of the line, found `7`"),
        (
            "layer=1 \"attn_norm\"",
            "layer=-1 \"attn_norm\"",
            "line 53, column 58: `layer` must be a layer's number",
        ),
        (
            "logits %43",
            "logit %43",
            "line 78, column 3: `logit` is no output; there are `logits` and `hidden`",
        ),
        ("weights\n", "", "line 3, column 3: expected `weights`, `nodes` or `outputs`, found `@embed`"),
        (
            "  %43: [wanted, 48] = softcap %42 cap=30.0\n",
            "  %44: [wanted, 48] = softcap %42 cap=30.0\n",
            "line 78, column 10: %43 has no shape: no line gives it",
        ),
        (
            "outputs\n",
            "  %45: [rows, 7]\noutputs\n",
            "line 80, column 1: %44 is missing: values are numbered without gaps",
        ),
    ];
    let mut wrong = Vec::new();
    for (from, to, expected) in cases {
        assert!(SAMPLES[0].contains(from), "{from}");
        let error = SAMPLES[0].replacen(from, to, 1).parse::<Graph>().expect_err(expected);
        if error.to_string() != expected {
            wrong.push(format!("{from:?} -> {to:?}\n  gives {error}\n  not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!("".parse::<Graph>().unwrap_err().to_string(), "line 1, column 1: expected `graph \"name\"`");
}

#[test]
fn comments_and_empty_lines_say_nothing() {
    let text = "// a graph\n\ngraph \"g\" // its name\nweights\n// none\nnodes\noutputs\n";
    assert_eq!(text.parse::<Graph>().unwrap(), Graph::new("g"));
}

proptest! {
    #[test]
    fn what_is_printed_parses_as_the_same_graph(graph in graph()) {
        let text = graph.to_string();
        prop_assert_eq!(text.parse::<Graph>().map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?, graph);
    }

    #[test]
    fn no_text_breaks_the_parser(cut in 0..SAMPLES[0].len(), insert in "[ -~\\n]{0,4}", rest in 0..SAMPLES[0].len()) {
        let text = format!("{}{insert}{}", &SAMPLES[0][..cut], &SAMPLES[0][rest..]);
        if let Ok(graph) = text.parse::<Graph>() {
            let _ = verify(graph.clone(), Stage::Fused);
            prop_assert_eq!(graph.to_string().parse::<Graph>(), Ok(graph));
        }
    }
}

/// Any graph that can be written down; few of them hold together.
fn graph() -> impl Strategy<Value = Graph> {
    let weights = btree_set("\\PC{1,8}|[a-z0-9._/-]{1,12}|[\\x00-\\x20\"\\\\]{1,3}", 1..6);
    (any::<String>(), weights, vec(shape(), 4..12)).prop_flat_map(|(name, weights, values)| {
        let weights: Vec<String> = weights.into_iter().collect();
        let types = vec((dtype(), vec(any::<usize>(), 0..3)), weights.len());
        let nodes = vec(node(weights.len() as u32, values.len() as u32), 0..4);
        let outputs = vec((role(), 0..values.len() as u32), 0..3);
        (types, nodes, outputs).prop_map(move |(types, nodes, outputs)| {
            let mut graph = Graph::new(name.clone());
            for (name, (dtype, shape)) in weights.iter().zip(types) {
                graph.add_weight(Weight { name: name.clone(), dtype, shape });
            }
            for shape in &values {
                graph.add_value(*shape);
            }
            for (index, mut node) in nodes.into_iter().enumerate() {
                // No value is given twice.
                node.outputs.iter_mut().enumerate().for_each(|(i, id)| *id = ValueId((3 * index + i) as u32));
                node.outputs.retain(|id| id.index() < values.len());
                graph.add_node(node);
            }
            for (role, value) in outputs {
                graph.add_output(role, ValueId(value));
            }
            graph
        })
    })
}

fn node(weights: u32, values: u32) -> impl Strategy<Value = Node> {
    let ids = |range| vec((0..values).prop_map(ValueId), range);
    (op(weights), ids(0..4), ids(0..4), option::of(any::<u32>()), any::<String>())
        .prop_map(|(op, inputs, outputs, layer, label)| Node { op, inputs, outputs, layer, label })
}

fn op(weights: u32) -> impl Strategy<Value = Op> {
    let weight = move || (0..weights).prop_map(WeightId);
    let norm = move || (weight(), float()).prop_map(|(weight, eps)| Norm { weight, eps });
    let part = move || (weight(), option::of(weight())).prop_map(|(weight, bias)| Part { weight, bias });
    let linear = move |parts: std::ops::Range<usize>| {
        let norms = (option::of(norm()), option::of(norm()));
        (norms, vec(part(), parts), option::of(activation()), any::<bool>())
            .prop_map(|((add, norm), parts, gate, residual)| Linear { add, norm, parts, gate, residual })
    };
    let cache = || any::<u32>().prop_map(CacheId);
    let rope = move || {
        (style(), any::<usize>(), any::<usize>(), float(), scaling(), option::of(weight())).prop_map(
            |(style, head_dim, rotary_dim, theta, scaling, freq_factors)| Rope {
                style,
                head_dim,
                rotary_dim,
                theta,
                scaling,
                freq_factors,
            },
        )
    };
    let attention = (
        (cache(), any::<usize>(), any::<usize>(), any::<usize>()),
        (float(), option::of(float()), option::of(any::<usize>()), option::of(weight())),
    );
    prop_oneof![
        (weight(), float()).prop_map(|(table, scale)| Op::Embed { table, scale }),
        (norm(), any::<bool>()).prop_map(|(norm, residual)| Op::RmsNorm { norm, residual }),
        linear(0..4).prop_map(Op::Linear),
        (any::<usize>(), any::<usize>()).prop_map(|(start, len)| Op::Slice { start, len }),
        rope().prop_map(Op::Rope),
        cache().prop_map(|cache| Op::KvWrite { cache }),
        attention.prop_map(|((cache, heads, kv_heads, head_dim), (scale, softcap, window, sinks))| {
            Op::Attention(Attention { cache, heads, kv_heads, head_dim, scale, softcap, window, sinks })
        }),
        activation().prop_map(Op::Activation),
        prop_oneof![Just(Op::Add), Just(Op::Mul), Just(Op::SelectWanted)],
        float().prop_map(|factor| Op::Scale { factor }),
        float().prop_map(|cap| Op::Softcap { cap }),
        (
            (option::of(linear(1..4)), cache(), any::<usize>(), any::<usize>()),
            (option::of(norm()), option::of(norm()), rope()),
        )
            .prop_map(|((projection, cache, heads, kv_heads), (q_norm, k_norm, rope))| {
                Op::QkvRope(QkvRope { projection, cache, heads, kv_heads, q_norm, k_norm, rope })
            }),
    ]
}

fn shape() -> impl Strategy<Value = Shape> {
    let rows = prop_oneof![
        Just(Dim::Rows),
        Just(Dim::Wanted),
        Just(Dim::Context),
        any::<usize>().prop_map(Dim::Const)
    ];
    (rows, any::<usize>()).prop_map(|(rows, width)| Shape { rows, width })
}

fn scaling() -> impl Strategy<Value = RopeScaling> {
    prop_oneof![
        Just(RopeScaling::None),
        float().prop_map(|factor| RopeScaling::Linear { factor }),
        (float(), any::<usize>(), float(), float()).prop_map(
            |(factor, original_context, beta_fast, beta_slow)| RopeScaling::Yarn {
                factor,
                original_context,
                beta_fast,
                beta_slow
            }
        ),
    ]
}

fn float() -> impl Strategy<Value = f32> {
    prop_oneof![
        any::<f32>().prop_filter("equal to itself", |x| !x.is_nan()),
        Just(f32::INFINITY),
        Just(-1e-5)
    ]
}

fn dtype() -> impl Strategy<Value = DType> {
    proptest::sample::select(DType::ALL)
}

fn role() -> impl Strategy<Value = OutputRole> {
    proptest::sample::select(&[OutputRole::Logits, OutputRole::Hidden][..])
}

fn style() -> impl Strategy<Value = RopeStyle> {
    proptest::sample::select(&[RopeStyle::Interleaved, RopeStyle::HalfSplit][..])
}

fn activation() -> impl Strategy<Value = HiddenActivation> {
    proptest::sample::select(
        &[HiddenActivation::Silu, HiddenActivation::GeluTanh, HiddenActivation::GeluErf][..],
    )
}
