//! Places every value of a graph in the arena, by liveness.
//!
//! Layers share their steps, so the value that one hands to the next must always lie at the same place: it is the first region of the
//! arena, `x`. Everything else lives inside one layer.

use std::collections::BTreeMap;
use std::ops::Range;

use forgellm_frontend::ir::{Dim, Graph, Op, ValueId};

use crate::build::describe;
use crate::{Buffer, BufferId, PlanError};

/// Offsets are multiples of this many elements (64 bytes of f32), so that every region of an arena starts aligned.
const ALIGNMENT: usize = 16;

/// Where every value lies.
pub(crate) struct Allocation {
    pub buffers: Vec<Buffer>,
    /// The nodes of each layer.
    pub layers: Vec<Range<usize>>,
    places: BTreeMap<ValueId, BufferId>,
}

impl Allocation {
    /// The buffer of an activation.
    pub fn buffer(&self, value: ValueId) -> BufferId {
        self.places.get(&value).copied().unwrap_or(BufferId(usize::MAX))
    }

    /// Elements per row of the arena for `rows`.
    pub fn elements(&self, rows: Dim) -> usize {
        let ends = self.buffers.iter().filter(|buffer| buffer.shape.rows == rows).map(Buffer::end);
        ends.max().unwrap_or(0).next_multiple_of(ALIGNMENT)
    }
}

/// Places every activation of `graph`.
pub(crate) fn allocate(graph: &Graph) -> Result<Allocation, PlanError> {
    let layers = layer_ranges(graph);
    let first = layers.first().map_or(graph.nodes().len(), |range| range.start);
    let last = layers.last().map_or(graph.nodes().len(), |range| range.end);
    let (before, after) = (0..first, last..graph.nodes().len());
    let segments: Vec<_> = [&before].into_iter().chain(&layers).chain([&after]).cloned().collect();

    let last_uses = last_uses(graph);
    let mut allocator = Allocator {
        graph,
        last_uses,
        live: Vec::new(),
        allocation: Allocation { buffers: Vec::new(), layers, places: BTreeMap::new() },
    };
    for segment in segments.iter().filter(|segment| !segment.is_empty()) {
        allocator.segment(segment.clone())?;
    }
    Ok(allocator.allocation)
}

fn layer_ranges(graph: &Graph) -> Vec<Range<usize>> {
    let mut ranges: Vec<(u32, Range<usize>)> = Vec::new();
    for (index, node) in graph.nodes().iter().enumerate() {
        let Some(layer) = node.layer else { continue };
        match ranges.last_mut() {
            Some((current, range)) if *current == layer => range.end = index + 1,
            _ => ranges.push((layer, index..index + 1)),
        }
    }
    ranges.into_iter().map(|(_, range)| range).collect()
}

/// The last node that reads each value; results of the graph are read after the last node.
fn last_uses(graph: &Graph) -> Vec<usize> {
    let mut last_uses = vec![0; graph.values().len()];
    for (index, node) in graph.nodes().iter().enumerate() {
        for value in node.inputs.iter().chain(&node.outputs) {
            last_uses[value.index()] = index;
        }
    }
    for output in graph.outputs() {
        last_uses[output.value.index()] = graph.nodes().len();
    }
    last_uses
}

struct Allocator<'a> {
    graph: &'a Graph,
    last_uses: Vec<usize>,
    /// Values that will still be read.
    live: Vec<ValueId>,
    allocation: Allocation,
}

impl Allocator<'_> {
    fn segment(&mut self, range: Range<usize>) -> Result<(), PlanError> {
        let carried = self.carried(&range)?;
        for index in range {
            let graph = self.graph;
            let node = &graph.nodes()[index];
            for value in node.outputs.iter().filter(|value| graph.shape(**value).rows != Dim::Context) {
                let place = match self.in_place(index) {
                    Some(place) => place,
                    None if Some(*value) == carried => self.carried_place(*value),
                    None => self.free_place(*value, &node.label),
                };
                let misplaced = Some(*value) == carried && self.allocation.buffers[place.0].offset != 0;
                if misplaced || self.clobbers(place, index) {
                    return Err(PlanError::Layers {
                        node: describe(index, node),
                        reason: "the value that goes to the next layer has no place: the one from the layer before is still needed",
                    });
                }
                self.allocation.places.insert(*value, place);
                self.live.push(*value);
            }
            let last_uses = &self.last_uses;
            self.live.retain(|value| last_uses[value.index()] > index);
        }
        Ok(())
    }

    /// The one activation that is defined before the end of `range` and read after it.
    fn carried(&self, range: &Range<usize>) -> Result<Option<ValueId>, PlanError> {
        if range.end == self.graph.nodes().len() {
            return Ok(None);
        }
        let defined = &self.graph.nodes()[..range.end];
        let mut carried = defined.iter().flat_map(|node| &node.outputs).filter(|value| {
            self.graph.shape(**value).rows != Dim::Context && self.last_uses[value.index()] >= range.end
        });
        match (carried.next(), carried.next()) {
            (Some(value), None) => Ok(Some(*value)),
            _ => Err(PlanError::Layers {
                node: describe(range.end - 1, &self.graph.nodes()[range.end - 1]),
                reason: "a layer must hand exactly one activation to the next",
            }),
        }
    }

    /// The place of an input that node `index` may overwrite: one that is read element by element and never again.
    fn in_place(&self, index: usize) -> Option<BufferId> {
        let node = &self.graph.nodes()[index];
        let candidates: &[usize] = match &node.op {
            Op::Add | Op::Mul => &[1, 0],
            Op::Activation(_) | Op::Scale { .. } | Op::Softcap { .. } => &[0],
            Op::Linear(linear) if linear.residual => &[1],
            Op::RmsNorm { residual: true, .. } => &[1],
            _ => &[],
        };
        candidates
            .iter()
            .filter_map(|position| node.inputs.get(*position))
            .find(|value| {
                self.last_uses[value.index()] == index
                    && node.inputs.iter().filter(|input| input == value).count() == 1
                    && self.graph.shape(**value) == self.graph.shape(node.outputs[0])
            })
            .map(|value| self.allocation.buffer(*value))
    }

    /// Whether writing to `place` destroys what node `index` or a later one reads, but for an input overwritten in place.
    fn clobbers(&self, place: BufferId, index: usize) -> bool {
        let in_place = self.in_place(index);
        let buffer = &self.allocation.buffers[place.0];
        self.live.iter().any(|value| {
            let other = self.allocation.buffer(*value);
            Some(other) != in_place && self.allocation.buffers[other.0].overlaps(buffer)
        })
    }

    fn carried_place(&mut self, value: ValueId) -> BufferId {
        self.buffer("x", value, 0)
    }

    /// The lowest offset at which the value overlaps nothing that is still needed.
    fn free_place(&mut self, value: ValueId, label: &str) -> BufferId {
        let shape = self.graph.shape(value);
        let mut taken: Vec<(usize, usize)> = self
            .live
            .iter()
            .map(|live| &self.allocation.buffers[self.allocation.buffer(*live).0])
            .filter(|buffer| buffer.shape.rows == shape.rows)
            .map(|buffer| (buffer.offset, buffer.end().next_multiple_of(ALIGNMENT)))
            .collect();
        taken.sort_unstable();
        let mut offset = 0;
        for (start, end) in taken {
            if offset + shape.width <= start {
                break;
            }
            offset = offset.max(end);
        }
        self.buffer(label, value, offset)
    }

    /// The buffer of this geometry that is named after `label`.
    fn buffer(&mut self, label: &str, value: ValueId, offset: usize) -> BufferId {
        let shape = self.graph.shape(value);
        let buffers = &mut self.allocation.buffers;
        for number in 1.. {
            let name = if number == 1 { label.to_owned() } else { format!("{label}_{number}") };
            match buffers.iter().position(|buffer| buffer.name == name) {
                Some(known) if buffers[known].shape == shape && buffers[known].offset == offset => {
                    return BufferId(known);
                }
                Some(_) => continue,
                None => {
                    buffers.push(Buffer { name, shape, offset });
                    break;
                }
            }
        }
        BufferId(buffers.len() - 1)
    }
}
