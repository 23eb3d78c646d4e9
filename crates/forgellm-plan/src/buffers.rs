//! Places every value of a graph in the arena, by liveness.
//!
//! Layers share their steps, so what one hands to the next should always lie at the same place. Such values are therefore placed before all
//! else of their layer, at the start of the arena; where there is one, it is called `x`. Everything else lives inside one layer and
//! keeps out of their way. No result of a node shares memory with what the node reads, but for [`in_place_inputs`].

use std::collections::BTreeMap;
use std::ops::Range;

use forgellm_frontend::ir::{Dim, Graph, ValueId};

use crate::in_place::in_place_inputs;
use crate::{Buffer, BufferId};

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
pub(crate) fn allocate(graph: &Graph) -> Allocation {
    let layers = layer_ranges(graph);
    let first = layers.first().map_or(graph.nodes().len(), |range| range.start);
    let last = layers.last().map_or(graph.nodes().len(), |range| range.end);
    let (before, after) = (0..first, last..graph.nodes().len());
    let segments: Vec<_> = [&before].into_iter().chain(&layers).chain([&after]).cloned().collect();

    let mut allocator = Allocator {
        graph,
        lifetimes: lifetimes(graph),
        live: Vec::new(),
        reserved: BTreeMap::new(),
        allocation: Allocation { buffers: Vec::new(), layers, places: BTreeMap::new() },
    };
    for segment in segments.iter().filter(|segment| !segment.is_empty()) {
        allocator.segment(segment.clone());
    }
    allocator.allocation
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

/// From which node to which each value is needed; results of the graph are read after the last node.
fn lifetimes(graph: &Graph) -> Vec<Range<usize>> {
    let mut lifetimes = vec![0..0; graph.values().len()];
    for (index, node) in graph.nodes().iter().enumerate() {
        for value in &node.outputs {
            lifetimes[value.index()] = index..index;
        }
        for value in &node.inputs {
            lifetimes[value.index()].end = index;
        }
    }
    for output in graph.outputs() {
        lifetimes[output.value.index()].end = graph.nodes().len();
    }
    lifetimes
}

struct Allocator<'a> {
    graph: &'a Graph,
    /// The node that gives each value, and the last that reads it.
    lifetimes: Vec<Range<usize>>,
    /// Placed values that will still be read.
    live: Vec<ValueId>,
    /// The first elements of values that this segment has yet to compute and that a later one reads.
    reserved: BTreeMap<ValueId, usize>,
    allocation: Allocation,
}

impl Allocator<'_> {
    fn segment(&mut self, range: Range<usize>) {
        let residual_stream = self.reserve(&range);
        for index in range {
            let node = &self.graph.nodes()[index];
            let values = node.outputs.iter().filter(|value| self.graph.shape(**value).rows != Dim::Context);
            for value in values.copied().collect::<Vec<_>>() {
                let is_sum = Some(&value) != node.outputs.first();
                let name = if is_sum || residual_stream == Some(value) { "x" } else { &node.label };
                let place = match self.reserved.remove(&value) {
                    Some(offset) => self.place_at(value, offset, name),
                    None => self.free_place(value, name),
                };
                self.allocation.places.insert(value, place);
                self.live.push(value);
            }
            let lifetimes = &self.lifetimes;
            self.live.retain(|value| lifetimes[value.index()].end > index);
        }
    }

    /// Chooses the places of what a segment computes for those behind it; gives the value where it is the only one that they read.
    ///
    /// What is computed last chooses first. So a place that another value holds until then in the first layer falls to the same value in
    /// all layers, and they can share their steps.
    fn reserve(&mut self, range: &Range<usize>) -> Option<ValueId> {
        if range.end == self.graph.nodes().len() {
            return None;
        }
        let outlives = |value: &ValueId| {
            self.graph.shape(*value).rows != Dim::Context && self.lifetimes[value.index()].end >= range.end
        };
        let computed = self.graph.nodes()[range.clone()].iter().flat_map(|node| &node.outputs);
        let handed_on: Vec<ValueId> = computed.copied().filter(outlives).collect();
        let held = self.live.iter().filter(|value| outlives(value)).count();
        for value in handed_on.iter().rev() {
            let offset = self.reserved_place(*value);
            self.reserved.insert(*value, offset);
        }
        match handed_on[..] {
            [value] if held == 0 => Some(value),
            _ => None,
        }
    }

    /// Where a value that is computed later can lie: in the place of one that it may overwrite, else at the lowest place that is free then.
    fn reserved_place(&self, value: ValueId) -> usize {
        let start = self.lifetimes[value.index()].start;
        let needed = self.live.iter().filter(|other| self.lifetimes[other.index()].end >= start);
        let needed: Vec<ValueId> = needed.chain(self.reserved.keys()).copied().collect();
        let over = self.overwritable(value).into_iter().find(|over| {
            let others = needed.iter().filter(|other| *other != over);
            self.live.contains(over) && !overlaps(&self.region(*over), &self.regions(value, others))
        });
        match over {
            Some(over) => self.region(over).start,
            None => lowest(self.graph.shape(value).width, self.regions(value, needed.iter())),
        }
    }

    /// The buffer of a value that was given its place before: that of an input with which it shares it, or one of its own.
    fn place_at(&mut self, value: ValueId, offset: usize, name: &str) -> BufferId {
        let over = self.overwritable(value).into_iter().find(|over| self.region(*over).start == offset);
        match over {
            Some(over) => self.allocation.buffer(over),
            None => self.buffer(name, value, offset),
        }
    }

    /// The place of an input that the value may overwrite, or the lowest at which it overlaps nothing that is needed while it is.
    fn free_place(&mut self, value: ValueId, name: &str) -> BufferId {
        let end = self.lifetimes[value.index()].end;
        let later: Vec<ValueId> = self
            .reserved
            .keys()
            .copied()
            .filter(|other| self.lifetimes[other.index()].start <= end)
            .collect();
        let over = self.overwritable(value).into_iter().find(|over| {
            let region = self.region(*over);
            // One that will overwrite this value in turn may have the same place.
            let others = later.iter().filter(|other| {
                self.region(**other) != region || !self.overwritable(**other).contains(&value)
            });
            !overlaps(&region, &self.regions(value, others))
        });
        match over {
            Some(over) => self.allocation.buffer(over),
            None => {
                let taken = self.regions(value, self.live.iter().chain(&later));
                self.buffer(name, value, lowest(self.graph.shape(value).width, taken))
            }
        }
    }

    /// The inputs of the node that gives `value` in whose place it may lie: it reads them once, element by element, and nothing reads them
    /// again.
    fn overwritable(&self, value: ValueId) -> Vec<ValueId> {
        let index = self.lifetimes[value.index()].start;
        let node = &self.graph.nodes()[index];
        let output = node.outputs.iter().position(|output| *output == value).unwrap_or(0);
        let candidates = in_place_inputs(&node.op, output).iter().filter_map(|input| node.inputs.get(*input));
        let free = |input: &&ValueId| {
            self.lifetimes[input.index()].end == index
                && node.inputs.iter().filter(|other| other == input).count() == 1
                && self.graph.shape(**input) == self.graph.shape(value)
        };
        candidates.filter(free).copied().collect()
    }

    /// The elements of a value that is placed or has a place reserved.
    fn region(&self, value: ValueId) -> Range<usize> {
        let placed = || self.allocation.buffers[self.allocation.buffer(value).0].offset;
        let offset = self.reserved.get(&value).copied().unwrap_or_else(placed);
        offset..offset + self.graph.shape(value).width
    }

    /// The elements of those of `others` that are in the same arena as `value`.
    fn regions<'v>(&self, value: ValueId, others: impl Iterator<Item = &'v ValueId>) -> Vec<Range<usize>> {
        let rows = self.graph.shape(value).rows;
        others
            .filter(|other| self.graph.shape(**other).rows == rows)
            .map(|other| self.region(*other))
            .collect()
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

fn overlaps(region: &Range<usize>, others: &[Range<usize>]) -> bool {
    others.iter().any(|other| region.start < other.end && other.start < region.end)
}

/// The first of `width` elements that none of `taken` holds.
fn lowest(width: usize, mut taken: Vec<Range<usize>>) -> usize {
    taken.sort_unstable_by_key(|region| region.start);
    let mut offset = 0;
    for region in taken {
        if offset + width <= region.start {
            break;
        }
        offset = offset.max(region.end.next_multiple_of(ALIGNMENT));
    }
    offset
}
