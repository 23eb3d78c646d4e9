use roxmltree::{Document, Node as Element};

use super::{View, to_dot, to_svg};
use crate::ir::Graph;

const SAMPLES: [&str; 2] = [
    include_str!("../../../tests/fixtures/graph/model.graph"),
    include_str!("../../../tests/fixtures/graph/fused.graph"),
];

#[test]
fn dot_of_a_layer() {
    let graph: Graph = SAMPLES[1].parse().unwrap();
    insta::assert_snapshot!(to_dot(&graph, View::Layer(1)));
}

#[test]
fn svg_is_xml_in_which_no_box_covers_another() {
    let views = [View::Whole, View::Layer(0), View::Layer(1), View::Layer(9)];
    for (sample, view) in SAMPLES.iter().flat_map(|sample| views.map(|view| (sample, view))) {
        let mut graph: Graph = sample.parse().unwrap();
        graph.name = "<&\">\u{1}".to_owned();
        let svg = to_svg(&graph, view);
        let document = Document::parse(&svg).unwrap();
        let number =
            |element: &Element<'_, '_>, name| element.attribute(name).unwrap().parse::<usize>().unwrap();
        let (width, height) =
            (number(&document.root_element(), "width"), number(&document.root_element(), "height"));
        let boxes: Vec<[usize; 4]> = document
            .descendants()
            .filter(|element| element.has_tag_name("rect"))
            .map(|rect| {
                let (x, y) = (number(&rect, "x"), number(&rect, "y"));
                [x, y, x + number(&rect, "width"), y + number(&rect, "height")]
            })
            .collect();
        assert!(boxes.len() >= 8, "{view:?} has {} boxes", boxes.len());
        for (index, a) in boxes.iter().enumerate() {
            assert!(a[2] <= width && a[3] <= height, "{a:?} is outside of the picture");
            for b in &boxes[..index] {
                assert!(a[0] >= b[2] || b[0] >= a[2] || a[1] >= b[3] || b[1] >= a[3], "{a:?} covers {b:?}");
            }
        }
        for text in document.descendants().filter(|element| element.has_tag_name("text")) {
            let (x, y) = (number(&text, "x"), number(&text, "y"));
            let inside = |b: &[usize; 4]| (b[0]..b[2]).contains(&x) && (b[1]..b[3]).contains(&y);
            assert!(boxes.iter().any(inside), "{:?} is outside of every box", text.text());
        }
    }
}

#[test]
fn layers_left_out_are_named() {
    let graph: Graph = SAMPLES[0].parse().unwrap();
    assert!(to_dot(&graph, View::Layer(1)).contains("[label=\"layer 0\""));
    assert!(to_dot(&graph, View::Layer(9)).contains("[label=\"layers 0 to 1\""));
}
