//! Graph to SVG.
//!
//! Boxes stand in ranks, each one rank below the lowest of its givers. An edge to the next rank is a line; one that passes ranks (a
//! residual) runs in the gap below its giver to a lane of its own at the right, down, and back in the gap above its reader.

use std::fmt::Write;

use super::dot::colour;
use super::{Drawing, View};
use crate::ir::Graph;

const CHARACTER: usize = 7;
const LINE: usize = 16;
const PADDING: usize = 8;
const COLUMN_GAP: usize = 24;
const RANK_GAP: usize = 36;
const LANE: usize = 14;
const MARGIN: usize = 16;

/// The graph as an SVG picture.
pub fn to_svg(graph: &Graph, view: View) -> String {
    let drawing = Drawing::new(graph, view);
    let layout = Layout::new(&drawing);
    let Layout { width, height, .. } = layout;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n  \
         <title>{}</title>\n  \
         <marker id=\"arrow\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" \
         orient=\"auto\"><path d=\"M0 0 L8 4 L0 8 Z\" fill=\"#555\"/></marker>\n",
        escaped(&drawing.name)
    );
    // Writing to a string cannot fail.
    for (((from, to), shape), lane) in drawing.edges.iter().zip(&layout.lanes) {
        let path = layout.path(*from, *to, *lane);
        let _ = writeln!(
            text,
            "  <path d=\"{path}\" fill=\"none\" stroke=\"#555\" marker-end=\"url(#arrow)\"><title>{}</title></path>",
            escaped(shape)
        );
    }
    for (shown, place) in drawing.blocks.iter().zip(&layout.places) {
        let Place { x, y, width, height, .. } = place;
        let _ = writeln!(
            text,
            "  <rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"5\" fill=\"{}\" stroke=\"#888\"/>",
            colour(shown.kind)
        );
        for (index, line) in shown.lines.iter().enumerate() {
            let weight = if index == 0 { " font-weight=\"bold\"" } else { "" };
            let _ = writeln!(
                text,
                "  <text x=\"{}\" y=\"{}\" text-anchor=\"middle\"{weight}>{}</text>",
                x + width / 2,
                y + PADDING + LINE * (index + 1) - 4,
                escaped(line)
            );
        }
    }
    text.push_str("</svg>\n");
    text
}

struct Layout {
    width: usize,
    height: usize,
    /// Of each box.
    places: Vec<Place>,
    /// Of each edge: the x of its lane, where it has one.
    lanes: Vec<Option<usize>>,
}

#[derive(Default, Clone, Copy)]
struct Place {
    rank: usize,
    x: usize,
    y: usize,
    width: usize,
    height: usize,
    /// Where the tallest box of the rank ends.
    rank_bottom: usize,
}

impl Layout {
    fn new(drawing: &Drawing) -> Layout {
        let mut places: Vec<Place> = drawing
            .blocks
            .iter()
            .map(|shown| {
                let longest = shown.lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
                Place {
                    width: longest * CHARACTER + 2 * PADDING,
                    height: shown.lines.len() * LINE + 2 * PADDING,
                    ..Place::default()
                }
            })
            .collect();
        // Edges go from earlier boxes to later ones, so that a giver's rank is known before it is asked for.
        for to in 0..places.len() {
            let givers = drawing.edges.keys().filter(|edge| edge.1 == to);
            places[to].rank = givers.map(|(from, _)| places[*from].rank + 1).max().unwrap_or(0);
        }
        let columns_width = place_ranks(&mut places);
        let (lanes, width) = lanes(drawing, &places, columns_width);
        let bottom = places.iter().map(|place| place.y + place.height).max().unwrap_or(0);
        Layout { width, height: bottom + MARGIN, places, lanes }
    }

    fn path(&self, from: usize, to: usize, lane: Option<usize>) -> String {
        let (from, to) = (self.places[from], self.places[to]);
        match lane {
            None => {
                let (x1, y1) = (from.x + from.width / 2, from.y + from.height);
                let (x2, y2) = (to.x + to.width / 2, to.y);
                format!("M{x1} {y1} L{x2} {y2}")
            }
            Some(lane) => {
                // In the gaps between the ranks, so that no box is crossed; each lane at its own height there.
                let gap = RANK_GAP / 6 * (1 + lane / LANE % 3);
                let (x1, y1) = (from.x + from.width / 2, from.y + from.height);
                let (x2, y2) = (to.x + to.width / 2 + COLUMN_GAP / 3, to.y);
                let (below, above) = (from.rank_bottom + gap, y2 - gap);
                format!("M{x1} {y1} V{below} H{lane} V{above} H{x2} V{y2}")
            }
        }
    }
}

/// Gives every box its x and y; gives the x behind the widest rank.
fn place_ranks(places: &mut [Place]) -> usize {
    let ranks = places.iter().map(|place| place.rank + 1).max().unwrap_or(0);
    let mut widths = vec![0; ranks];
    let mut heights = vec![0; ranks];
    for place in places.iter() {
        widths[place.rank] += place.width + COLUMN_GAP;
        heights[place.rank] = place.height.max(heights[place.rank]);
    }
    let widest = widths.iter().copied().max().unwrap_or(0);
    let mut next: Vec<usize> = widths.iter().map(|width| MARGIN + (widest - width) / 2).collect();
    let mut tops = Vec::new();
    let mut top = MARGIN;
    for height in &heights {
        tops.push(top);
        top += height + RANK_GAP;
    }
    for place in places {
        place.x = next[place.rank];
        place.y = tops[place.rank];
        place.rank_bottom = place.y + heights[place.rank];
        next[place.rank] += place.width + COLUMN_GAP;
    }
    MARGIN + widest
}

/// The lane of each edge, the first that is free along the edge's ranks, and the width of the picture.
fn lanes(drawing: &Drawing, places: &[Place], columns_width: usize) -> (Vec<Option<usize>>, usize) {
    let mut taken: Vec<Vec<(usize, usize)>> = Vec::new();
    let mut lanes = Vec::new();
    for (from, to) in drawing.edges.keys() {
        let (first, last) = (places[*from].rank, places[*to].rank);
        if last <= first + 1 {
            lanes.push(None);
            continue;
        }
        let free =
            taken.iter().position(|lane| lane.iter().all(|(start, end)| last < *start || *end < first));
        let lane = free.unwrap_or_else(|| {
            taken.push(Vec::new());
            taken.len() - 1
        });
        taken[lane].push((first, last));
        lanes.push(Some(columns_width + lane * LANE));
    }
    (lanes, columns_width + taken.len() * LANE + MARGIN)
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}
