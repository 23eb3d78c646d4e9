//! A dispatch as it is encoded: checked against the kernel's parameters, as Metal's validation layer does.

use std::ops::Range;

use super::buffer::Inline;
use super::{ArgumentProblem, Buffer, Pipeline};
use crate::sim::abi::BUFFERS;
use crate::sim::exec::{MAX_THREADS, THREADGROUP_MEMORY};
use crate::sim::translate::{AddressSpace, Parameter, ParameterKind};

/// What stands at a buffer index.
#[derive(Clone)]
pub(super) enum Bound {
    /// A buffer from an offset on.
    Buffer(Buffer, usize),
    Bytes(Inline),
}

impl Bound {
    pub(super) fn bytes(bytes: &[u8]) -> Self {
        Self::Bytes(Inline::new(bytes))
    }

    /// The label, and the addresses of all its bytes.
    pub(super) fn whole(&self) -> (String, Range<usize>) {
        match self {
            Self::Buffer(buffer, _) => (buffer.label().to_owned(), buffer.range()),
            Self::Bytes(inline) => ("bytes".to_owned(), inline.range()),
        }
    }

    /// The addresses that a kernel may use.
    pub(super) fn range(&self) -> Range<usize> {
        match self {
            Self::Buffer(buffer, offset) => {
                let range = buffer.range();
                range.start + (*offset).min(range.len())..range.end
            }
            Self::Bytes(inline) => inline.range(),
        }
    }
}

/// Where a dispatch stands among the commands.
#[derive(Clone)]
pub(super) struct Place {
    /// The encoder's label.
    pub(super) encoder: String,
    pub(super) concurrent: bool,
    /// Dispatches of the encoder before this one.
    pub(super) number: u64,
    /// Barriers between the encoder's dispatch before this one, or its start, and this one.
    pub(super) barriers_before: u64,
}

/// A dispatch with all that it needs.
pub(super) struct Encoded {
    pub(super) place: Place,
    pub(super) pipeline: Pipeline,
    pub(super) buffers: Vec<(usize, Bound)>,
    /// Index and bytes.
    pub(super) threadgroup_memory: Vec<(u32, usize)>,
    pub(super) threadgroups: [u32; 3],
    pub(super) threads: [u32; 3],
}

impl Encoded {
    pub(super) fn new(
        place: &Place,
        pipeline: &Pipeline,
        buffers: &[Option<Bound>; BUFFERS],
        threadgroup_memory: &[usize; BUFFERS],
        threadgroups: [usize; 3],
        threads: [usize; 3],
    ) -> Result<Self, ArgumentProblem> {
        for parameter in &pipeline.kernel().parameters {
            check(parameter, buffers, threadgroup_memory)?;
        }
        let bytes = threadgroup_memory.iter().sum();
        if bytes > THREADGROUP_MEMORY {
            return Err(ArgumentProblem::ThreadgroupMemory { bytes, most: THREADGROUP_MEMORY });
        }
        let (threadgroups, threads) = grid(pipeline, threadgroups, threads)?;
        let bound = buffers.iter().enumerate().filter_map(|(index, bound)| Some((index, bound.clone()?)));
        let memory = threadgroup_memory.iter().enumerate().filter(|(_, bytes)| **bytes != 0);
        Ok(Self {
            place: place.clone(),
            pipeline: pipeline.clone(),
            buffers: bound.collect(),
            threadgroup_memory: memory.map(|(index, bytes)| (index as u32, *bytes)).collect(),
            threadgroups,
            threads,
        })
    }
}

/// The sizes of a grid, if a device can run it.
fn grid(
    pipeline: &Pipeline,
    threadgroups: [usize; 3],
    threads: [usize; 3],
) -> Result<([u32; 3], [u32; 3]), ArgumentProblem> {
    let product = |sizes: [usize; 3]| {
        let narrow = |size: usize| u32::try_from(size).ok().filter(|&size| size != 0);
        let [x, y, z] = [narrow(sizes[0])?, narrow(sizes[1])?, narrow(sizes[2])?];
        Some(([x, y, z], x.checked_mul(y)?.checked_mul(z)?))
    };
    let most = pipeline.kernel().max_total_threads.unwrap_or(MAX_THREADS).min(MAX_THREADS);
    let [x, y, z] = threads;
    let (threads, each) = product(threads)
        .filter(|(_, count)| *count <= most)
        .ok_or(ArgumentProblem::Threads { x, y, z, most: most as usize })?;
    let [x, y, z] = threadgroups;
    let (threadgroups, _) = product(threadgroups)
        .filter(|(_, count)| count.checked_mul(each).is_some())
        .ok_or(ArgumentProblem::Threadgroups { x, y, z })?;
    Ok((threadgroups, threads))
}

fn check(
    parameter: &Parameter,
    buffers: &[Option<Bound>; BUFFERS],
    threadgroup_memory: &[usize; BUFFERS],
) -> Result<(), ArgumentProblem> {
    let name = || parameter.name.clone();
    match &parameter.kind {
        ParameterKind::Builtin(_) => Ok(()),
        ParameterKind::Threadgroup { index } => match threadgroup_memory.get(*index as usize) {
            Some(0) | None => {
                Err(ArgumentProblem::MissingThreadgroupMemory { index: *index as usize, name: name() })
            }
            Some(_) => Ok(()),
        },
        ParameterKind::Buffer { index, space, element, reference, optional, .. } => {
            let index = *index as usize;
            let bound = match buffers.get(index) {
                Some(Some(bound)) => bound,
                _ if *optional => return Ok(()),
                _ => return Err(ArgumentProblem::MissingBuffer { index, name: name() }),
            };
            let layout = layout_of(element);
            let least = if *space == AddressSpace::Constant { 4 } else { 1 };
            if let Bound::Buffer(_, offset) = bound {
                let alignment = layout.map_or(1, |(_, alignment)| alignment).max(least);
                if !offset.is_multiple_of(alignment) {
                    let offset = *offset;
                    return Err(ArgumentProblem::OffsetAlignment { index, name: name(), offset, alignment });
                }
            }
            let bytes = bound.range().len();
            let needed = layout.map_or(1, |(size, _)| size);
            if *reference && bytes < needed {
                return Err(ArgumentProblem::TooFewBytes { index, name: name(), bytes, needed });
            }
            Ok(())
        }
    }
}

/// Size and alignment of the language's own types; types of the kernel's text are not known here.
pub(super) fn layout_of(element: &str) -> Option<(usize, usize)> {
    let words =
        element.split_whitespace().filter(|word| !matches!(*word, "const" | "volatile" | "metal" | "::"));
    let mut name = words.collect::<Vec<_>>().join(" ");
    if let Some(rest) = name.strip_prefix("metal::") {
        name = rest.to_owned();
    }
    let packed = name.strip_prefix("packed_");
    let base = packed.unwrap_or(&name);
    let lanes = base.chars().next_back().and_then(|last| last.to_digit(10)).filter(|n| (2..=4).contains(n));
    let scalar = if lanes.is_some() { &base[..base.len() - 1] } else { base };
    let size = match scalar {
        "bool" | "char" | "uchar" | "int8_t" | "uint8_t" | "unsigned char" | "signed char" => 1,
        "short" | "ushort" | "half" | "bfloat" | "int16_t" | "uint16_t" | "unsigned short" => 2,
        "int" | "uint" | "float" | "int32_t" | "uint32_t" | "unsigned int" | "unsigned" => 4,
        "long" | "ulong" | "int64_t" | "uint64_t" | "size_t" | "unsigned long" => 8,
        _ => return None,
    };
    Some(match lanes {
        Some(lanes) if packed.is_some() => (size * lanes as usize, size),
        Some(3) => (size * 4, size * 4),
        Some(lanes) => (size * lanes as usize, size * lanes as usize),
        None => (size, size),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_those_of_the_language() {
        assert_eq!(layout_of("const float"), Some((4, 4)));
        assert_eq!(layout_of("half4"), Some((8, 8)));
        assert_eq!(layout_of("float3"), Some((16, 16)));
        assert_eq!(layout_of("packed_float3"), Some((12, 4)));
        assert_eq!(layout_of("metal::uchar2"), Some((2, 2)));
        assert_eq!(layout_of("int8_t"), Some((1, 1)));
        assert_eq!(layout_of("Params"), None);
        assert_eq!(layout_of("block_q4"), None);
    }
}
